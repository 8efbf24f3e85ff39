#!/usr/bin/env bash
# Certificates of the real parts: an authority of their own, and what it signs. Nothing outside the tests trusts it.
#
#   certificates.sh authority FOLDER           FOLDER/ca.crt and ca.key
#   certificates.sh leaf FOLDER OUT NAME...    OUT.crt and OUT.key for these DNS names and addresses, signed by FOLDER/ca
set -euo pipefail

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
job=$1 folder=$2
shift 2
case $job in
  authority)
    openssl req -x509 "${new_key[@]}" -days 30 -subj '/CN=authority of the parts' -config /dev/null \
      -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
      -addext subjectKeyIdentifier=hash -keyout "$folder/ca.key" -out "$folder/ca.crt" 2>/dev/null
    ;;
  leaf)
    out=$1 names=()
    shift
    for name in "$@"; do
      case $name in
        *[!0-9.]*) names+=("DNS:$name") ;;
        *) names+=("IP:$name") ;;
      esac
    done
    openssl req -x509 "${new_key[@]}" -days 30 -subj "/CN=$1" -config /dev/null \
      -CA "$folder/ca.crt" -CAkey "$folder/ca.key" \
      -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
      -addext extendedKeyUsage=serverAuth -addext "subjectAltName=$(IFS=,; echo "${names[*]}")" \
      -addext authorityKeyIdentifier=keyid -keyout "$out.key" -out "$out.crt" 2>/dev/null
    ;;
  *)
    echo "no such job: $job" >&2
    exit 2
    ;;
esac
