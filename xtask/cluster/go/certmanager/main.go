// Runs cert-manager's controllers of CA and SelfSigned issuers, as its own command does, against the cluster of a kubeconfig:
// those that say whether an issuer is ready, the one that approves requests, and those that sign. Its own command is not in
// its module. What is left out: everything that asks somebody elsewhere, Certificates, and election of a leader.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	"github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "file that says where the cluster is")
	namespace := flag.String("namespace", "", "the only namespace to look after, with no ClusterIssuers; all of them without it")
	approve := flag.Bool("approve", true, "approve every request, as cert-manager does where no approver-policy is")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *namespace, *approve); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, namespace string, approve bool) error {
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		Kubeconfig:         kubeconfig,
		Namespace:          namespace,
		KubernetesAPIQPS:   50,
		KubernetesAPIBurst: 100,
		IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: "cert-manager"},
	})
	if err != nil {
		return err
	}
	names := []string{issuers.ControllerName, ca.CRControllerName, selfsigned.CRControllerName}
	if namespace == "" {
		names = append(names, clusterissuers.ControllerName)
	}
	if approve {
		names = append(names, approver.ControllerName)
	}
	known := controller.Known()
	var built []controller.Interface
	for _, name := range names {
		one, err := known[name](factory)
		if err != nil {
			return fmt.Errorf("failed to make %s: %w", name, err)
		}
		built = append(built, one)
	}
	whole, err := factory.Build()
	if err != nil {
		return err
	}
	whole.SharedInformerFactory.Start(ctx.Done())
	whole.KubeSharedInformerFactory.Start(ctx.Done())
	var running sync.WaitGroup
	for _, one := range built {
		running.Go(func() {
			if err := one.Run(2, ctx); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		})
	}
	running.Wait()
	return nil
}
