package release

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"time"
)

// bom is a document of CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/.
type bom struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp  string     `json:"timestamp"`
	Component  component  `json:"component"`
	Properties []property `json:"properties"`
}

type component struct {
	Ref      string    `json:"bom-ref"`
	Type     string    `json:"type"`
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	Hashes   []hash    `json:"hashes,omitempty"`
	Licenses []license `json:"licenses,omitempty"`
	PURL     string    `json:"purl"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type license struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// SBOM returns the bill of materials of a program, a document of CycloneDX in JSON: the modules that are linked into
// it, as the program itself says.
func SBOM(program []byte, s *Source) ([]byte, error) {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("reading which modules are in the program: %w", err)
	}
	return describe(program, info, s)
}

func describe(program []byte, info *debug.BuildInfo, s *Source) ([]byte, error) {
	sum := sha256.Sum256(program)
	main := module(info.Main.Path, s.Version, "")
	// The path of the command within the module.
	sub := strings.Trim(strings.TrimPrefix(info.Path, info.Main.Path), "/")
	main.Type, main.Name = "application", path.Base(info.Path)
	main.PURL += platformOf(info)
	if sub != "" {
		main.PURL += "#" + sub
	}
	main.Ref = main.PURL
	main.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum[:])}}
	main.Licenses = make([]license, 1)
	main.Licenses[0].License.ID = "Apache-2.0"

	all := bom{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6",
		SerialNumber: serial(sum), Version: 1,
		Metadata: metadata{
			Timestamp: s.Time.Format(time.RFC3339), Component: main,
			Properties: []property{{"ostree-ext:commit", s.Revision()}},
		},
		Components: []component{module("std", strings.TrimPrefix(info.GoVersion, "go"), "")},
	}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		all.Components = append(all.Components, module(dep.Path, dep.Version, dep.Sum))
	}
	needs := dependency{Ref: main.Ref}
	for _, c := range all.Components {
		needs.DependsOn = append(needs.DependsOn, c.Ref)
		all.Dependencies = append(all.Dependencies, dependency{Ref: c.Ref})
	}
	all.Dependencies = append([]dependency{needs}, all.Dependencies...)
	return indented(all)
}

// indented returns JSON as people read it.
func indented(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

// module returns a module of Go. sum is that of go.sum, a hash of the files' hashes, or empty.
func module(name, version, sum string) component {
	// https://github.com/package-url/purl-spec: the path is in lower case, and each part of it is escaped.
	parts := strings.Split(strings.ToLower(name), "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	purl := "pkg:golang/" + strings.Join(parts, "/") + "@" + strings.ReplaceAll(url.PathEscape(version), "+", "%2B")
	c := component{Ref: purl, Type: "library", Name: name, Version: version, PURL: purl}
	if h, ok := strings.CutPrefix(sum, "h1:"); ok {
		if raw, err := base64.StdEncoding.DecodeString(h); err == nil {
			c.Hashes = []hash{{"SHA-256", hex.EncodeToString(raw)}}
		}
	}
	return c
}

// platformOf returns the qualifiers that say what a program was compiled for.
func platformOf(info *debug.BuildInfo) string {
	q := url.Values{"type": {"package"}}
	for _, s := range info.Settings {
		if s.Key == "GOOS" || s.Key == "GOARCH" {
			q.Set(strings.ToLower(s.Key), s.Value)
		}
	}
	return "?" + q.Encode()
}

// serial makes a UUID of the version 8, which is for hashes, from the hash of the program.
func serial(sum [sha256.Size]byte) string {
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
