// Writes what kube-scheduler's own types make of requests, and reads our answers with them.
//
// `go run . write DIR` writes the request files that the tests send; `go run . read` reads answers
// from standard input, one on a line, and prints what the scheduler sees in them.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	extender "k8s.io/kube-scheduler/extender/v1"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "write":
		err = write(os.Args[2])
	case len(os.Args) == 2 && os.Args[1] == "read":
		err = read()
	default:
		err = fmt.Errorf("usage: write DIR | read")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pod() *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:      "virt-launcher-vm1-9c4mb",
			Namespace: "default",
			UID:       types.UID("c1d7c1a4-28f5-4d0c-8a53-2b7d60ab0001"),
			Annotations: map[string]string{
				"k8s.v1.cni.cncf.io/networks": `[{"name":"vm-network-b","namespace":"default"},{"name":"vm-network-c","namespace":"default"}]`,
			},
		},
		Spec: v1.PodSpec{Containers: []v1.Container{{Name: "compute"}}},
	}
}

func node(name string) v1.Node {
	return v1.Node{ObjectMeta: metav1.ObjectMeta{
		Name:        name,
		Labels:      map[string]string{"kubernetes.io/hostname": name},
		Annotations: map[string]string{"note": "<&> \u00e9 \"quoted\""},
	}}
}

func write(dir string) error {
	names := []string{"host0", "host1", "host2", "host3", "host4", "host5"}
	nodes := &v1.NodeList{}
	for _, name := range names {
		nodes.Items = append(nodes.Items, node(name))
	}
	victim := v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "victim", UID: types.UID("u1")}}
	for file, args := range map[string]any{
		"args-names.json": extender.ExtenderArgs{Pod: pod(), NodeNames: &names},
		"args-nodes.json": extender.ExtenderArgs{Pod: pod(), Nodes: nodes},
		"preemption-meta.json": extender.ExtenderPreemptionArgs{Pod: pod(), NodeNameToMetaVictims: map[string]*extender.MetaVictims{
			"host1": {Pods: []*extender.MetaPod{{UID: "u1"}}, NumPDBViolations: 1},
			"host2": {Pods: []*extender.MetaPod{{UID: "u2"}}, NumPDBViolations: 2},
		}},
		"preemption-full.json": extender.ExtenderPreemptionArgs{Pod: pod(), NodeNameToVictims: map[string]*extender.Victims{
			"host1": {Pods: []*v1.Pod{&victim}, NumPDBViolations: 1},
			"host2": {Pods: []*v1.Pod{&victim}, NumPDBViolations: 2},
		}},
	} {
		text, err := json.Marshal(args)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func read() error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var filter extender.ExtenderFilterResult
		var list extender.HostPriorityList
		var preemption extender.ExtenderPreemptionResult
		for _, into := range []any{&filter, &list, &preemption} {
			strict := json.NewDecoder(bytes.NewReader(lines.Bytes()))
			strict.DisallowUnknownFields()
			if err := strict.Decode(into); err != nil {
				continue
			}
			switch answer := into.(type) {
			case *extender.ExtenderFilterResult:
				if answer.Nodes != nil {
					fmt.Printf("filter: %d nodes, names nil: %t", len(answer.Nodes.Items), answer.NodeNames == nil)
				} else {
					fmt.Printf("filter: names %v", *answer.NodeNames)
				}
				fmt.Printf(", failed %d, unresolvable %d, error %q\n", len(answer.FailedNodes), len(answer.FailedAndUnresolvableNodes), answer.Error)
			case *extender.HostPriorityList:
				fmt.Printf("priorities: %v\n", *answer)
			case *extender.ExtenderPreemptionResult:
				for host, victims := range answer.NodeNameToMetaVictims {
					fmt.Printf("preemption: %s, %d pods, first %s, %d violations\n", host, len(victims.Pods), victims.Pods[0].UID, victims.NumPDBViolations)
				}
			}
			break
		}
	}
	return lines.Err()
}
