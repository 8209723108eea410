import java.nio.file.Path;
import org.codelibs.opensearch.runner.OpenSearchRunner;

/** OpenSearch, one node on 127.0.0.1 without passwords, for `make test-scale`: folder, HTTP port, transport port. */
public class Run {
    public static void main(String[] arguments) throws Exception {
        String folder = Path.of(arguments[0]).toAbsolutePath().toString();
        int port = Integer.parseInt(arguments[1]);
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.setMaxHttpPort(65535); // else ports above its own ceiling fail
        runner.onBuild((number, settings) -> {
            settings.put("network.host", "127.0.0.1");
            settings.put("http.port", port);
            settings.put("transport.port", arguments[2]);
            settings.put("discovery.type", "single-node");
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(runner)));
        // It adds the node's number, 1, to the port.
        runner.build(OpenSearchRunner.newConfigs().basePath(folder).numOfNode(1).clusterName("rlm").baseHttpPort(port - 1));
        runner.ensureYellow();
        Thread.currentThread().join();
    }

    private static void close(OpenSearchRunner runner) {
        try {
            runner.close();
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }
}
