#!/usr/bin/env bash
# A home folder for Chromium in which an authority is trusted.
#
#   home.sh FOLDER CA.crt
set -euo pipefail

mkdir -p "$1/.pki/nssdb"
certutil -N -d "sql:$1/.pki/nssdb" --empty-password
certutil -A -d "sql:$1/.pki/nssdb" -n parts -t C,, -i "$2"
