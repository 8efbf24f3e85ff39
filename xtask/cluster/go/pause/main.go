// Pause holds a set of namespaces open: a pod's, as the first process of its sandbox, and the whole cluster's, as the first
// process of its process namespace. It buries the orphans that such a process inherits, and leaves at a signal.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGINT, syscall.SIGTERM)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for buried := 1; buried > 0; {
			buried, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
	}
}
