#!/usr/bin/env bash
# Runs Keycloak with the realm of the tests. Its state is kept in FOLDER: one that was killed comes back with the same
# keys and people.
#
#   start.sh BUILT FOLDER ADDRESS PORT ISSUER-ORIGIN CERT KEY
set -euo pipefail

built=$1 folder=$2 address=$3 port=$4 origin=$5 cert=$6 key=$7
mkdir -p "$folder/conf" "$folder/providers"
ln -sfn "$built/lib" "$folder/lib"
[ -e "$folder/data" ] || cp -r "$built/data" "$folder/data"

# bin/kc.sh without the shell around the virtual machine, so that the process is Keycloak itself; compiled once only,
# since it starts more often than it works.
exec java -Xms64m -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dfile.encoding=UTF-8 \
  --add-opens=java.base/java.util=ALL-UNNAMED --add-opens=java.base/java.util.concurrent=ALL-UNNAMED \
  --add-opens=java.base/java.security=ALL-UNNAMED \
  -Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory \
  -Djava.util.logging.manager=org.jboss.logmanager.LogManager \
  -Dkc.home.dir="$folder" -Djboss.server.config.dir="$folder/conf" -cp "$folder/lib/quarkus-run.jar" \
  io.quarkus.bootstrap.runner.QuarkusEntryPoint start --optimized \
  --cache=local --hostname="$origin" --http-host="$address" --https-port="$port" \
  --https-certificate-file="$cert" --https-certificate-key-file="$key"
