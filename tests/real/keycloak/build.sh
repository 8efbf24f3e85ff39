#!/usr/bin/env bash
# Unpacks Keycloak from its archive, builds it for how the tests run it and puts their realm into its database: all that
# takes it long to start the first time.
#
#   build.sh ARCHIVE.zip FOLDER
set -euo pipefail

python3 -m zipfile -e "$1" "$2/unpacked"
mv "$2"/unpacked/keycloak-*/* "$2"
rm -r "$2/unpacked"
# compiled quickly: it ends before a better compilation would pay
export JAVA_OPTS_APPEND="-XX:TieredStopAtLevel=1"
sh "$2/bin/kc.sh" build --db=dev-file
sh "$2/bin/kc.sh" import --optimized --file "$(dirname "$0")/realm.json"
