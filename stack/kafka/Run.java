import com.sun.net.httpserver.HttpServer;
import java.io.File;
import java.net.InetSocketAddress;
import kafka.server.KafkaConfig;
import kafka.server.KafkaRaftServer;
import kafka.tools.StorageTool;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.Utils;

/** Kafka, one broker, for `make test-scale`: its properties, its folder, and a port that answers HTTP 200 when it is ready. */
public class Run {
    public static void main(String[] arguments) throws Exception {
        String properties = arguments[0];
        if (!new File(arguments[1], "meta.properties").exists()) {
            String[] format = {"format", "--cluster-id", "cmxtLW90ZWwtdGVzdA", "--config", properties};
            StorageTool.execute(format, System.out);
        }
        KafkaConfig config = KafkaConfig.fromProps(Utils.loadProps(properties));
        KafkaRaftServer server = new KafkaRaftServer(config, Time.SYSTEM);
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
        server.startup();
        HttpServer health = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[2])), 0);
        health.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, -1);
            exchange.close();
        });
        health.start();
        server.awaitShutdown();
        health.stop(0);
    }
}
