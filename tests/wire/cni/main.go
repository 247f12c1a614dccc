// Reads CNI configurations and Multus's annotations as Multus, libcni and the bridge plug-in do.
//
// `go run ./cni answer` reads texts from standard input, one JSON object on a line, and adds Go's
// answer to each; `go run ./cni make N` makes N texts, the same ones each time. The test `wire`
// (tests/integration/wire.rs) compares the answers with what Lanekeeper reads, and says what may
// differ.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// netConf has the members of the bridge plug-in's NetConf that Lanekeeper reads, with its types and
// tags (containernetworking/plugins v1.9.0, plugins/main/bridge/bridge.go). cnv-bridge is the same
// program.
type netConf struct {
	Type      string       `json:"type"`
	BrName    string       `json:"bridge"`
	MTU       int          `json:"mtu"`
	Vlan      int          `json:"vlan"`
	VlanTrunk []*vlanTrunk `json:"vlanTrunk,omitempty"`
}

type vlanTrunk struct {
	MinID *int `json:"minID,omitempty"`
	MaxID *int `json:"maxID,omitempty"`
	ID    *int `json:"id,omitempty"`
}

// selection has the members of Multus's NetworkSelectionElement that Lanekeeper reads (multus-cni
// v4.2.3, pkg/types/types.go).
type selection struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

// text is a line of input, and of output with Go's answer.
type text struct {
	Config   *string `json:"config,omitempty"`
	Networks *string `json:"networks,omitempty"`
	Go       any     `json:"go,omitempty"`
}

type answer struct {
	Type   string   `json:"type"`
	Bridge string   `json:"bridge"`
	VLAN   int      `json:"vlan"`
	MTU    int      `json:"mtu"`
	Trunk  [][]*int `json:"trunk"`
	Twice  []string `json:"twice,omitempty"`
}

type failure struct {
	Error bool `json:"error"`
}

func main() {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "answer":
		err = answers()
	case len(os.Args) == 3 && os.Args[1] == "make":
		err = makeTexts(os.Args[2])
	default:
		err = fmt.Errorf("usage: answer | make N")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answers() error {
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var line text
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return err
		}
		line.Go = failure{true}
		if line.Config != nil {
			if read, err := readConfig(*line.Config); err == nil {
				line.Go = read
			}
		} else if read, err := readNetworks(*line.Networks, "default"); err == nil {
			line.Go = read
		}
		if err := out.Encode(line); err != nil {
			return err
		}
	}
	return lines.Err()
}

// readConfig takes the way of a configuration through Multus (LoadDelegateNetConf in
// pkg/types/conf.go) and libcni to the plug-in.
func readConfig(config string) (*answer, error) {
	// The network attachment definition client reads a map first, to inject the name.
	object := map[string]any{}
	if err := json.Unmarshal([]byte(config), &object); err != nil {
		return nil, err
	}
	// Multus matches `plugins` without regard to case; libcni, further on, does not.
	list := struct {
		Plugins []json.RawMessage `json:"plugins"`
	}{}
	if err := json.Unmarshal([]byte(config), &list); err != nil {
		return nil, err
	}
	plugin := json.RawMessage(config)
	twice := twiceIn(plugin, "", "plugins")
	// Lanekeeper takes a configuration with `plugins` for a list, also beside a `type`, where
	// Multus would run that type. No generated configuration has both.
	if list.Plugins != nil {
		counts, first := -1, ""
		for position, one := range list.Plugins {
			read := types.PluginConf{}
			// libcni refuses a plug-in without a type and with it the list; to Lanekeeper it is
			// no bridge.
			if err := unmarshalObject(one, &read); err != nil {
				return nil, err
			}
			if position == 0 {
				first = read.Type
			}
			if counts < 0 && (read.Type == "bridge" || read.Type == "cnv-bridge") {
				counts = position
			}
		}
		if counts < 0 {
			return &answer{Type: first, Twice: twice}, nil
		}
		plugin = list.Plugins[counts]
	}
	read := types.PluginConf{}
	if err := json.Unmarshal(plugin, &read); err != nil {
		return nil, err
	}
	names := []string{"type", "bridge", "vlan", "vlanTrunk", "mtu"}
	if read.Type == "" {
		// Multus does not run such a configuration, and Lanekeeper takes it for a bridge.
		only := struct {
			Bridge string `json:"bridge"`
		}{}
		if err := json.Unmarshal(plugin, &only); err != nil {
			return nil, err
		}
		if strings.TrimSpace(only.Bridge) == "" {
			return &answer{Twice: append(twice, twiceIn(plugin, "", "type", "bridge")...)}, nil
		}
	} else if read.Type != "bridge" && read.Type != "cnv-bridge" {
		return &answer{Type: read.Type, Twice: append(twice, twiceIn(plugin, "", "type")...)}, nil
	}
	injected, err := inject(plugin, read.Type)
	if err != nil {
		return nil, err
	}
	conf := netConf{}
	if err := json.Unmarshal(injected, &conf); err != nil {
		return nil, err
	}
	all := &answer{Type: read.Type, Bridge: conf.BrName, VLAN: conf.Vlan, MTU: conf.MTU, Twice: append(twice, twiceIn(plugin, "", names...)...)}
	raw := struct {
		VlanTrunk []json.RawMessage `json:"vlanTrunk"`
	}{}
	if err := json.Unmarshal(plugin, &raw); err != nil {
		return nil, err
	}
	for position, entry := range conf.VlanTrunk {
		if entry == nil {
			// collectVlanTrunk would crash.
			return nil, fmt.Errorf("null in vlanTrunk")
		}
		all.Trunk = append(all.Trunk, []*int{entry.ID, entry.MinID, entry.MaxID})
		if position < len(raw.VlanTrunk) {
			all.Twice = append(all.Twice, twiceIn(raw.VlanTrunk[position], fmt.Sprintf("vlanTrunk[%d].", position), "id", "minID", "maxID")...)
		}
	}
	return all, nil
}

// inject writes a plug-in's configuration anew, as libcni does before it runs the plug-in: its keys
// come out sorted, and 5.0 as 5.
func inject(plugin []byte, kind string) ([]byte, error) {
	if kind == "" {
		// libcni demands a type.
		object := map[string]any{}
		if err := json.Unmarshal(plugin, &object); err != nil {
			return nil, err
		}
		return json.Marshal(object)
	}
	conf, err := libcni.NetworkPluginConfFromBytes(plugin)
	if err != nil {
		return nil, err
	}
	injected, err := libcni.InjectConf(conf, map[string]any{"name": "net", "cniVersion": "0.3.1"})
	if err != nil {
		return nil, err
	}
	return injected.Bytes, nil
}

func unmarshalObject(raw json.RawMessage, into any) error {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return fmt.Errorf("not an object")
	}
	return json.Unmarshal(raw, into)
}

// twiceIn returns those of the names that more than one key of an object matches.
func twiceIn(object json.RawMessage, path string, names ...string) []string {
	keys := json.NewDecoder(bytes.NewReader(object))
	if token, err := keys.Token(); err != nil || token != json.Delim('{') {
		return nil
	}
	count := map[string]int{}
	for keys.More() {
		key, _ := keys.Token()
		for _, name := range names {
			if strings.EqualFold(key.(string), name) {
				count[name]++
			}
		}
		var value json.RawMessage
		if keys.Decode(&value) != nil {
			return nil
		}
	}
	var twice []string
	for _, name := range names {
		if count[name] > 1 {
			twice = append(twice, path+name)
		}
	}
	return twice
}

// readNetworks is parsePodNetworkAnnotation and parsePodNetworkObjectName of Multus
// (pkg/k8sclient/k8sclient.go), without what concerns members that Lanekeeper does not read.
func readNetworks(annotation, namespace string) ([]string, error) {
	if annotation == "" {
		return []string{}, nil
	}
	var networks []*selection
	if strings.ContainsAny(annotation, "[{\"") {
		if err := json.Unmarshal([]byte(annotation), &networks); err != nil {
			return nil, err
		}
	} else {
		for _, item := range strings.Split(annotation, ",") {
			network, err := readName(strings.TrimSpace(item))
			if err != nil {
				return nil, err
			}
			networks = append(networks, network)
		}
	}
	found := []string{}
	for _, network := range networks {
		if network == nil {
			return nil, fmt.Errorf("null, at which Multus crashes")
		}
		if network.Namespace == "" {
			network.Namespace = namespace
		}
		found = append(found, network.Namespace+"/"+network.Name)
	}
	return found, nil
}

var unit = regexp.MustCompile("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")

func readName(item string) (*selection, error) {
	var namespace, network string
	switch parts := strings.Split(item, "/"); len(parts) {
	case 1:
		network = parts[0]
	case 2:
		namespace, network = strings.TrimSpace(parts[0]), parts[1]
	default:
		return nil, fmt.Errorf("more than one /")
	}
	parts := strings.Split(network, "@")
	network = strings.TrimSpace(parts[0])
	if len(parts) > 2 {
		return nil, fmt.Errorf("more than one @")
	}
	for _, part := range []string{namespace, network} {
		if part != "" && !unit.MatchString(part) {
			return nil, fmt.Errorf("%q is no DNS label", part)
		}
	}
	if len(parts) == 2 {
		name := strings.TrimSpace(parts[1])
		if len(name) > 15 || strings.ContainsAny(name, " \t\n\v\f\r/") {
			return nil, fmt.Errorf("%q is no interface's name", name)
		}
	}
	return &selection{Name: network, Namespace: namespace}, nil
}

// maker makes texts from a fixed seed.
type maker struct{ *rand.Rand }

func makeTexts(count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	m := maker{rand.New(rand.NewPCG(1, 2))}
	for i := range n {
		line := text{}
		if i%3 == 0 {
			networks := m.networks()
			line.Networks = &networks
		} else {
			config := m.config()
			line.Config = &config
		}
		if err := out.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func (m maker) one(of ...string) string { return of[m.IntN(len(of))] }

// key spells a key: mostly as it should be.
func (m maker) key(name string) string {
	switch m.IntN(8) {
	case 0:
		return strings.ToUpper(name)
	case 1:
		return strings.NewReplacer("k", "\u212a", "s", "\u017f").Replace(name)
	case 2:
		return name + m.one(" ", "s", "\u0131")
	case 3:
		return fmt.Sprintf(`\u%04x%s`, name[0], name[1:])
	}
	return name
}

// number leaves out what no float64 holds: Go refuses it anywhere in a configuration, Lanekeeper only
// in a member that it reads.
func (m maker) number() string {
	return m.one("0", "1", "7", "-0", "-1", "4094", "4095", "5.0", "1e2", "1.5", "1e-1", "1e300", "9223372036854775807",
		"99999999999999999999", "null", "null", `"7"`, "true", "{}", "[]")
}

func (m maker) string(usual ...string) string {
	if m.IntN(6) == 0 {
		return m.one("null", "7", "{}", `""`, `" "`, `"\u0061-br"`)
	}
	return strconv.Quote(m.one(usual...))
}

func (m maker) space() string { return m.one("", "", "", " ", "\t", "\n ") }

// object writes an object with some of the members, some of them twice, in any order.
func (m maker) object(members ...func() (string, string)) string {
	var parts []string
	for _, member := range members {
		for range []int{0, 1, 1, 1, 1, 1, 1, 2}[m.IntN(8)] {
			name, value := member()
			parts = append(parts, m.space()+`"`+m.key(name)+`"`+m.space()+":"+m.space()+value)
		}
	}
	m.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	return m.space() + "{" + strings.Join(parts, ",") + m.space() + "}" + m.space()
}

func (m maker) trunk() string {
	if m.IntN(5) == 0 {
		return m.one("null", "[]", "{}", "7", "[null]", "[7]", "[[]]")
	}
	member := func(name string) func() (string, string) {
		return func() (string, string) { return name, m.one("1", "7", "4095", m.number()) }
	}
	var entries []string
	for range m.IntN(3) {
		entries = append(entries, m.object(member("id"), member("minID"), member("maxID")))
	}
	return "[" + strings.Join(entries, ",") + "]"
}

func (m maker) members(withType bool) []func() (string, string) {
	small := func() string { return m.one("0", "7", "100", "1500", m.number()) }
	members := []func() (string, string){
		func() (string, string) { return "bridge", m.string("a-br", "b-br", "br0") },
		func() (string, string) { return "vlan", small() },
		func() (string, string) { return "mtu", small() },
		func() (string, string) { return "vlanTrunk", m.trunk() },
		func() (string, string) { return "isGateway", "true" },
	}
	if withType {
		members = append(members, func() (string, string) {
			return "type", m.string("bridge", "bridge", "bridge", "cnv-bridge", "macvlan")
		})
	}
	return members
}

func (m maker) config() string {
	if m.IntN(4) > 0 {
		return m.object(m.members(true)...)
	}
	var plugins []string
	for range m.IntN(4) {
		plugins = append(plugins, m.object(m.members(true)...))
	}
	list := "[" + strings.Join(plugins, ",") + "]"
	if m.IntN(12) == 0 {
		list = m.one("null", "{}", "7", "[null]", "[7]")
	}
	return m.object(append(m.members(false), func() (string, string) { return "plugins", list })...)
}

func (m maker) networks() string {
	part := func() string { return m.one("a", "b-c", "a1", "A", "-a", "a-", "", "", "a b", "a/b", "\u00e4") }
	var items []string
	if m.IntN(2) == 0 {
		for range 1 + m.IntN(2) {
			item := m.one("", "", part()+"/", m.space()+part()+m.space()+"/") + m.one("a", part())
			items = append(items, m.space()+item+m.one("", "", "@", "@net1"+m.space(), "@1234567890123456", "@n m", "@a@b", "@a/b"))
		}
		return strings.Join(items, ",")
	}
	for range m.IntN(3) {
		items = append(items, m.object(
			func() (string, string) { return "name", m.string("a", "b-c", part()) },
			func() (string, string) { return "namespace", m.string("a", "", part()) },
			func() (string, string) { return "interface", `"net1"` },
		))
	}
	if m.IntN(6) == 0 {
		items = append(items, m.one("null", "{}", "[]", "7"))
	}
	return m.one("[", "[", "[", "[", "{") + strings.Join(items, ",") + m.one("]", "]", "]", "]] ")
}
