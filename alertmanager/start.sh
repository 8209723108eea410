#!/bin/sh
# Puts the webhook's address into Alertmanager's configuration, then becomes Alertmanager.
set -eu

here=$(dirname "$0")
config=${ALERTMANAGER_CONFIG:-/tmp/alertmanager.yml}

if [ -z "${ALERT_WEBHOOK_URL:-}" ]; then
    echo "Where shall alerts go? Set ALERT_WEBHOOK_URL in .env, or leave out the profile 'alerts'." >&2
    exit 1
fi

# The address may have any character: quotes are doubled for YAML, then what sed would read as its own is escaped.
address=$(printf '%s' "$ALERT_WEBHOOK_URL" | sed -e "s/'/''/g" -e 's/[\\&|]/\\&/g')
umask 077 # the address is often a secret
sed "s|@ALERT_WEBHOOK_URL@|$address|" "$here/alertmanager.yml.tmpl" >"$config"

exec "${ALERTMANAGER:-/bin/alertmanager}" \
    --config.file="$config" \
    --storage.path="${ALERTMANAGER_DATA_DIR:-/alertmanager}" \
    --web.external-url="${ALERTMANAGER_PUBLIC_URL:-http://localhost:9093/}" \
    --cluster.listen-address= \
    "$@"
