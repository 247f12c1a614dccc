// A scheduler extender written the usual way, which the benchmark "peers" compares with: net/http,
// encoding/json and Kubernetes' own types. It answers the filter over the same objects.
//
// `peer serve FOLDER CERT KEY ADDRESS` serves. `peer layout` reads a request from standard input and
// writes what the Go types make of it. `peer call CA URL TIMES` sends standard input that many times
// and prints how many TLS handshakes it took.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	extender "k8s.io/kube-scheduler/extender/v1"
)

const (
	networksAnnotation  = "k8s.v1.cni.cncf.io/networks"
	clusterNetworkLabel = "network.harvesterhci.io/clusternetwork"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 6 && os.Args[1] == "serve":
		err = serve(os.Args[2], os.Args[3], os.Args[4], os.Args[5])
	case len(os.Args) == 2 && os.Args[1] == "layout":
		err = layout()
	case len(os.Args) == 5 && os.Args[1] == "call":
		err = call(os.Args[2], os.Args[3], os.Args[4])
	default:
		err = fmt.Errorf("usage: serve FOLDER CERT KEY ADDRESS | layout | call CA URL TIMES")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func layout() error {
	var args extender.ExtenderArgs
	strict := json.NewDecoder(os.Stdin)
	strict.DisallowUnknownFields()
	if err := strict.Decode(&args); err != nil {
		return err
	}
	text, err := json.Marshal(args)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}

func serve(folder, cert, key, address string) error {
	index, err := readIndex(folder)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /scheduler/filter", index.serveFilter)
	return http.ListenAndServeTLS(address, cert, key, mux)
}

// index says where each cluster network is active, and which VM network belongs to which.
type index struct {
	activeHosts     map[string]map[string]bool
	clusterNetworks map[string]string
}

type networkConfig struct {
	Spec struct {
		ClusterNetwork string            `json:"clusterNetwork"`
		NodeSelector   map[string]string `json:"nodeSelector"`
	} `json:"spec"`
}

type vmNetwork struct {
	metav1.ObjectMeta `json:"metadata"`
}

func readIndex(folder string) (*index, error) {
	var nodes []v1.Node
	var configs []networkConfig
	var vmNetworks []vmNetwork
	for file, items := range map[string]any{
		"nodes.json": &nodes, "network-configs.json": &configs, "vm-networks.json": &vmNetworks,
	} {
		text, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			return nil, err
		}
		list := struct{ Items any }{items}
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	index := &index{map[string]map[string]bool{}, map[string]string{}}
	for _, config := range configs {
		hosts := index.activeHosts[config.Spec.ClusterNetwork]
		if hosts == nil {
			hosts = map[string]bool{}
			index.activeHosts[config.Spec.ClusterNetwork] = hosts
		}
		selector := labels.SelectorFromSet(config.Spec.NodeSelector)
		for _, node := range nodes {
			if selector.Matches(labels.Set(node.Labels)) {
				hosts[node.Name] = true
			}
		}
	}
	for _, network := range vmNetworks {
		index.clusterNetworks[network.Namespace+"/"+network.Name] = network.Labels[clusterNetworkLabel]
	}
	return index, nil
}

func (index *index) serveFilter(w http.ResponseWriter, r *http.Request) {
	var args extender.ExtenderArgs
	if err := json.NewDecoder(r.Body).Decode(&args); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply, err := json.Marshal(index.filter(&args))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(reply)
}

func (index *index) filter(args *extender.ExtenderArgs) *extender.ExtenderFilterResult {
	needed, err := index.needed(args.Pod)
	if err != nil {
		return &extender.ExtenderFilterResult{Error: err.Error()}
	}
	result := &extender.ExtenderFilterResult{
		FailedNodes:                extender.FailedNodesMap{},
		FailedAndUnresolvableNodes: extender.FailedNodesMap{},
	}
	if args.NodeNames != nil {
		kept := make([]string, 0, len(*args.NodeNames))
		for _, name := range *args.NodeNames {
			if why := rejection(name, needed); why == "" {
				kept = append(kept, name)
			} else {
				result.FailedAndUnresolvableNodes[name] = why
			}
		}
		result.NodeNames = &kept
		return result
	}
	result.Nodes = &v1.NodeList{}
	for _, node := range args.Nodes.Items {
		if why := rejection(node.Name, needed); why == "" {
			result.Nodes.Items = append(result.Nodes.Items, node)
		} else {
			result.FailedAndUnresolvableNodes[node.Name] = why
		}
	}
	return result
}

// need is a cluster network that the pod needs, and what is said of a host without it.
type need struct {
	activeHosts map[string]bool
	reason      string
}

// needed returns the cluster networks of the VM networks that the pod asks for.
func (index *index) needed(pod *v1.Pod) ([]need, error) {
	var asked []struct{ Name, Namespace string }
	if err := json.Unmarshal([]byte(pod.Annotations[networksAnnotation]), &asked); err != nil {
		return nil, err
	}
	var needed []need
	for _, network := range asked {
		key := network.Namespace + "/" + network.Name
		clusterNetwork, ok := index.clusterNetworks[key]
		if !ok {
			return nil, fmt.Errorf("VM network %s does not exist", key)
		}
		reason := fmt.Sprintf("cluster network %s is not active on this host", clusterNetwork)
		needed = append(needed, need{index.activeHosts[clusterNetwork], reason})
	}
	return needed, nil
}

// rejection returns why the host is rejected, or nothing.
func rejection(host string, needed []need) string {
	var reasons []string
	for _, need := range needed {
		if !need.activeHosts[host] {
			reasons = append(reasons, need.reason)
		}
	}
	return strings.Join(reasons, "; ")
}
