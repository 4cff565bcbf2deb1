package setup

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// errByHand is returned for YAML that means something else after it was changed than it should, such as sections that
// share an anchor.
var errByHand = errors.New("the file is written in a way that cannot be changed here: change it by hand")

// pair is a key of a mapping with its value.
type pair struct {
	key   string
	value any
}

// section is what a file has below "docker:" for a scope, in the order in which it is written.
type section []pair

// node returns the section as YAML.
func (s section) node() (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, p := range s {
		var k, v yaml.Node
		if err := errors.Join(k.Encode(p.key), v.Encode(p.value)); err != nil {
			return nil, err
		}
		n.Content = append(n.Content, &k, &v)
	}
	return n, nil
}

// text returns lines of YAML, each after an indentation.
func (s section) text(indent string) (string, error) {
	n, err := s.node()
	if err != nil {
		return "", err
	}
	return encodeYAML(n, indent)
}

func encodeYAML(v any, indent string) (string, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(v), enc.Close()); err != nil {
		return "", err
	}
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		out.WriteString(indent + line)
	}
	return out.String(), nil
}

// flow returns the section as it stands between braces on one line.
func (s section) flow() (string, error) {
	n, err := s.node()
	if err != nil {
		return "", err
	}
	n.Style = yaml.FlowStyle
	text, err := encodeYAML(n, "")
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "{"), "}"), err
}

// yamlText is a document that is changed by lines.
type yamlText struct {
	lines []string
	top   *yaml.Node // nil if the document is empty
}

func parseYAML(data []byte) (*yamlText, error) {
	t := &yamlText{lines: strings.SplitAfter(string(data), "\n")}
	if t.lines[len(t.lines)-1] == "" {
		t.lines = t.lines[:len(t.lines)-1]
	}
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err == io.EOF {
		return t, nil
	} else if err != nil {
		return nil, err
	}
	if t.top = doc.Content[0]; isNull(t.top) {
		t.top = nil
	}
	return t, nil
}

// entry returns a key of a mapping and its value.
func entry(mapping *yaml.Node, key string) (k, v *yaml.Node) {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func isFlow(n *yaml.Node) bool { return n.Style&yaml.FlowStyle != 0 }

// bytes returns the document.
func (t *yamlText) bytes() []byte { return []byte(strings.Join(t.lines, "")) }

// insert puts text before a line, counted from 0.
func (t *yamlText) insert(at int, text string) {
	if at > 0 && !strings.HasSuffix(t.lines[at-1], "\n") {
		t.lines[at-1] += "\n"
	}
	t.lines = append(t.lines[:at:at], append([]string{text}, t.lines[at:]...)...)
}

// end returns the line after the last one with content that belongs to a block. The block has a line of the given
// number, counted from 0, and lines that are indented at least so much.
func (t *yamlText) end(line, indent int) int {
	end := line + 1
	for i := line + 1; i < len(t.lines); i++ {
		text := strings.TrimLeft(t.lines[i], " ")
		if strings.TrimSpace(text) == "" || text[0] == '#' {
			continue
		}
		if len(t.lines[i])-len(text) < indent {
			break
		}
		end = i + 1
	}
	return end
}

// offset returns where in its line a node begins, in bytes.
func (t *yamlText) offset(n *yaml.Node) (int, error) {
	if n.Line < 1 || n.Line > len(t.lines) {
		return 0, errByHand
	}
	line, at := t.lines[n.Line-1], 0
	for range n.Column - 1 {
		_, size := utf8.DecodeRuneInString(line[at:])
		at += size
	}
	if at >= len(line) {
		return 0, errByHand
	}
	return at, nil
}

// indentOf returns the indentation of the keys of a mapping that is written in lines.
func (t *yamlText) indentOf(mapping *yaml.Node) string {
	return strings.Repeat(" ", mapping.Content[0].Column-1)
}

// addSection adds the section of a scope that has none.
func (t *yamlText) addSection(scope string, s section) error {
	dockerKey, docker := entry(t.top, "docker")
	whole := section{{scope, mapOf(s)}}
	switch {
	case docker == nil && t.top != nil && (t.top.Kind != yaml.MappingNode || isFlow(t.top)):
		return errByHand
	case docker == nil:
		text, err := renderSection(scope, s, "  ", "  ")
		t.insert(len(t.lines), "docker:\n"+text)
		return err
	case isNull(docker) && docker.Value == "":
		text, err := renderSection(scope, s, "  ", "  ")
		t.insert(dockerKey.Line, text)
		return err
	case docker.Kind != yaml.MappingNode,
		isFlow(docker) && len(docker.Content) > 0 && docker.Content[0].Line != docker.Line:
		return errByHand
	case isFlow(docker):
		text, err := whole.flow()
		if err != nil {
			return err
		}
		return t.intoFlow(docker, text)
	}
	indent := t.indentOf(docker)
	first := docker.Content[0]
	text, err := renderSection(scope, s, indent, t.unit(docker))
	t.insert(t.end(first.Line-1, len(indent)), text)
	return err
}

// unit returns the indentation that the sections of a mapping have in it.
func (t *yamlText) unit(docker *yaml.Node) string {
	for i := 1; i < len(docker.Content); i += 2 {
		v := docker.Content[i]
		if v.Kind == yaml.MappingNode && !isFlow(v) && len(v.Content) > 0 {
			if n := v.Content[0].Column - docker.Content[0].Column; n > 0 {
				return strings.Repeat(" ", n)
			}
		}
	}
	return "  "
}

func renderSection(scope string, s section, indent, unit string) (string, error) {
	key, err := encodeYAML(map[string]any{scope: nil}, indent)
	if err != nil {
		return "", err
	}
	text, err := s.text(indent + unit)
	return strings.TrimSuffix(key, " null\n") + "\n" + text, err
}

// intoFlow puts text after the brace that opens a mapping.
func (t *yamlText) intoFlow(mapping *yaml.Node, text string) error {
	at, err := t.offset(mapping)
	if err != nil {
		return err
	}
	line := t.lines[mapping.Line-1]
	if line[at] != '{' {
		return errByHand
	}
	if len(mapping.Content) > 0 {
		text += ", "
	}
	t.lines[mapping.Line-1] = line[:at+1] + text + line[at+1:]
	return nil
}

// setMember sets a key in the section of a scope that has one.
func (t *yamlText) setMember(scope string, p pair) error {
	_, docker := entry(t.top, "docker")
	key, old := entry(docker, scope)
	if old == nil {
		return errByHand
	}
	if _, v := entry(old, p.key); v != nil {
		return t.setScalar(v, p.value)
	}
	switch {
	case isNull(old) && old.Value == "" && !isFlow(docker):
		text, err := section{p}.text(t.indentOf(docker) + t.unit(docker))
		t.insert(key.Line, text)
		return err
	case old.Kind != yaml.MappingNode:
		return errByHand
	case isFlow(old):
		text, err := section{p}.flow()
		if err != nil {
			return err
		}
		return t.intoFlow(old, text)
	}
	indent := t.indentOf(old)
	text, err := section{p}.text(indent)
	t.insert(t.end(old.Content[0].Line-1, len(indent)), text)
	return err
}

// setScalar replaces a value that stands on one line.
func (t *yamlText) setScalar(old *yaml.Node, value any) error {
	at, err := t.offset(old)
	if err != nil {
		return err
	}
	text, err := encodeYAML(value, "")
	if err != nil {
		return err
	}
	line := t.lines[old.Line-1]
	size := len(old.Value)
	if quote := line[at]; quote == '"' || quote == '\'' {
		size = strings.IndexByte(line[at+1:], quote) + 2
	} else if !strings.HasPrefix(line[at:], old.Value) || size == 0 {
		return errByHand
	}
	t.lines[old.Line-1] = line[:at] + strings.TrimSpace(text) + line[at+size:]
	return nil
}

// replaceSection replaces all of the section of a scope that has one.
func (t *yamlText) replaceSection(scope string, s section) error {
	_, docker := entry(t.top, "docker")
	key, old := entry(docker, scope)
	if old == nil || isFlow(docker) || old.Kind != yaml.MappingNode || isFlow(old) || len(old.Content) == 0 {
		return errByHand
	}
	text, err := s.text(t.indentOf(old))
	from, to := key.Line, t.end(key.Line-1, len(t.indentOf(docker))+1)
	t.lines = append(t.lines[:from:from], append([]string{text}, t.lines[to:]...)...)
	return err
}

// editYAML changes a document, and makes sure that it then means what it meant, with another section for the scope.
func editYAML(data []byte, scope string, want section, edit func(*yamlText) error) ([]byte, error) {
	t, err := parseYAML(data)
	if err != nil {
		return nil, err
	}
	if err := edit(t); err != nil {
		return nil, err
	}
	out := t.bytes()
	before, err := decodeYAML(data)
	if err != nil {
		return nil, errByHand
	}
	after, err := decodeYAML(out)
	if err != nil {
		return nil, errByHand
	}
	docker, ok := before["docker"].(map[string]any)
	if !ok {
		docker = map[string]any{}
		before["docker"] = docker
	}
	docker[scope] = mapOf(want)
	if !reflect.DeepEqual(normal(before), normal(after)) {
		return nil, errByHand
	}
	return out, nil
}

// decodeYAML returns what all documents in a file mean. Only the first counts for the container tools.
func decodeYAML(data []byte) (map[string]any, error) {
	m := map[string]any{}
	err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&m)
	if err == io.EOF {
		err = nil
	}
	if m == nil {
		m = map[string]any{}
	}
	return m, err
}

// mapOf returns a section as YAML is decoded.
func mapOf(s section) map[string]any {
	m := map[string]any{}
	for _, p := range s {
		m[p.key] = p.value
	}
	return m
}

// normal returns a value as it is after it was encoded and decoded.
func normal(v any) any {
	text, err := yaml.Marshal(v)
	var out any
	if err != nil || yaml.Unmarshal(text, &out) != nil {
		return err
	}
	return out
}
