// The fixture of the tests against a live cluster: etcd, kube-apiserver, kube-scheduler,
// kube-controller-manager and kubectl in one program, each a subcommand with the flags of its original.
// Each but kubectl ends when its standard input does, so with whoever started it.
package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() {
	if len(os.Args) < 2 {
		fail("usage: control-plane etcd|apiserver|scheduler|controller-manager|kubectl|compact ARGUMENTS")
	}
	component := os.Args[1]
	os.Args = append([]string{component}, os.Args[2:]...)
	switch component {
	case "compact":
		compact()
		return
	case "kubectl":
		// It reads standard input itself, and ends by itself.
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			util.CheckErr(err)
		}
		return
	}
	go endWithParent()
	switch component {
	case "etcd":
		etcd()
	case "apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "scheduler":
		os.Exit(cli.Run(scheduler.NewSchedulerCommand()))
	case "controller-manager":
		os.Exit(cli.Run(controllermanager.NewControllerManagerCommand()))
	default:
		fail("no such component: " + component)
	}
}

// endWithParent ends the program when its standard input does: when whoever started it is gone.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// etcd runs one member. Arguments: the folder of its data, and the address it serves clients at.
func etcd() {
	if len(os.Args) != 3 {
		fail("usage: control-plane etcd FOLDER HOST:PORT")
	}
	clients := url.URL{Scheme: "http", Host: os.Args[2]}
	peers := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	config := embed.NewConfig()
	config.Dir = os.Args[1]
	config.UnsafeNoFsync = true
	config.LogLevel = "error"
	config.ListenClientUrls = []url.URL{clients}
	config.AdvertiseClientUrls = config.ListenClientUrls
	config.ListenPeerUrls = []url.URL{peers}
	config.AdvertisePeerUrls = config.ListenPeerUrls
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		fail(err.Error())
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	select {
	case <-signals:
		server.Close()
	case err := <-server.Err():
		fail(err.Error())
	}
}

// compact drops etcd's history up to now. Argument: the address that it serves clients at.
func compact() {
	if len(os.Args) != 2 {
		fail("usage: control-plane compact HOST:PORT")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + os.Args[1]}})
	if err != nil {
		fail(err.Error())
	}
	now, err := client.Get(ctx, "now")
	if err != nil {
		fail(err.Error())
	}
	if _, err := client.Compact(ctx, now.Header.Revision); err != nil {
		fail(err.Error())
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}
