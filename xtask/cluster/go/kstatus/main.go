// Reads one Kubernetes object as JSON from stdin and prints what kstatus makes of it: Current, InProgress, Failed, …
// That is how Flux, kpt and others decide whether they may go on.
package main

import (
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	object := &unstructured.Unstructured{}
	input, err := io.ReadAll(os.Stdin)
	if err == nil {
		// Its own reading of JSON tells whole numbers from others.
		err = object.UnmarshalJSON(input)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "expected an object as JSON on stdin:", err)
		os.Exit(2)
	}
	result, err := status.Compute(object)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(result.Status)
}
