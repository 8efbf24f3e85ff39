// Verifies one leaf with Go's crypto/x509; refuses by a non-zero exit.
//
// usage: verify.go ROOT LEAF EPOCH server NAME... | verify.go ROOT LEAF EPOCH client URI...
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	if err := verify(os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func verify(root, leaf, epoch, side string, names []string) error {
	authority, err := read(root)
	if err != nil {
		return err
	}
	certificate, err := read(leaf)
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("name what the leaf must stand for")
	}
	options := x509.VerifyOptions{
		Roots:       x509.NewCertPool(),
		CurrentTime: time.Unix(seconds, 0),
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	options.Roots.AddCert(authority)
	if side == "client" {
		if found := fmt.Sprint(certificate.URIs); found != fmt.Sprint(names) {
			return fmt.Errorf("found %s, expected %s", found, names)
		}
		_, err = certificate.Verify(options)
		return err
	}
	options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, options.DNSName = range names {
		if _, err := certificate.Verify(options); err != nil {
			return err
		}
	}
	return nil
}

func read(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("no PEM block in %s", path)
	}
	return x509.ParseCertificate(block.Bytes)
}
