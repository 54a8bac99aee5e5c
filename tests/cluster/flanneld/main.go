// flanneld with the Kubernetes API as its store and the backends that take
// nothing but the kernel. Its own main also links backends that need cgo or a
// cloud's library.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"sync"
	"syscall"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw"
	_ "github.com/flannel-io/flannel/pkg/backend/ipip"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"
	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	"github.com/flannel-io/flannel/pkg/trafficmngr"
	"github.com/flannel-io/flannel/pkg/trafficmngr/iptables"
	"github.com/flannel-io/flannel/pkg/trafficmngr/nftables"
)

// Where CNI configurations expect the node's subnet and MTU.
const subnetFile = "/run/flannel/subnet.env"

// Rules that something else removed are there again after so many seconds.
const resync = 5

func main() {
	kubeconfig := flag.String("kubeconfig-file", "", "kubeconfig of flanneld's user")
	network := flag.String("net-config-path", "", "file with the network and its backend, as JSON")
	device := flag.String("iface", "eth0", "interface towards the other nodes")
	flag.Parse()
	if err := run(*kubeconfig, *network, *device); err != nil {
		log.Fatal(err)
	}
}

// The environment's NODE_NAME says which node this is.
func run(kubeconfig, network, device string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var running sync.WaitGroup

	manager, err := kube.NewSubnetManager(ctx, "", kubeconfig, "flannel.alpha.coreos.com", network, true)
	if err != nil {
		return err
	}
	config, err := manager.GetNetworkConfig(ctx)
	if err != nil {
		return err
	}
	families, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return err
	}
	outside, err := ipmatch.LookupExtIface(device, "", "", families, ipmatch.PublicIPOpts{})
	if err != nil {
		return err
	}
	kind, err := backend.NewManager(ctx, manager, outside).GetBackend(config.BackendType)
	if err != nil {
		return err
	}
	wired, err := kind.RegisterNetwork(ctx, &running, config)
	if err != nil {
		return err
	}

	var rules trafficmngr.TrafficManager = &iptables.IPTablesManager{}
	if config.EnableNFTables {
		rules = &nftables.NFTablesManager{}
	}
	if err := rules.Init(ctx); err != nil {
		return err
	}
	none, none6 := ip.IP4Net{}, ip.IP6Net{IP: &ip.IP6{}}
	if err := rules.SetupAndEnsureMasqRules(ctx, config.Network, none, none,
		config.IPv6Network, none6, none6, wired.Lease(), resync, false); err != nil {
		return err
	}
	rules.SetupAndEnsureForwardRules(ctx, config.Network, config.IPv6Network, resync)
	lease := wired.Lease()
	if err := manager.HandleSubnetFile(subnetFile, config, true, lease.Subnet, lease.IPv6Subnet, wired.MTU()); err != nil {
		return err
	}

	running.Add(1)
	go func() {
		wired.Run(ctx)
		running.Done()
	}()
	if err := manager.CompleteLease(ctx, lease, &running); err != nil {
		return err
	}
	running.Wait()
	return nil
}
