// Package judge is a process that decides about an image of a build as a host does, with package trust. A build runs
// it for images that need more than BuildKit can fetch: Sigstore bundles, which are found by the referrers of a digest,
// and GPG signatures on web servers. It reads these from the network itself. The name and the manifests of the image
// come from the build.
//
// The process runs in a container of the builder. The root directory of the container is the one with the policy, so
// that the files of a host are where its rules say.
package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
	"github.com/ostree-ext/ostree-ext-go/container/trust"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
)

// Ready is the first line that [Run] writes. It can be asked after that.
const Ready = "ready"

// Secret is the id of the secret of a build that has credentials for signatures, as an auth.json.
const Secret = "ostree-ext-auth"

// A Request asks about an image.
type Request struct {
	// Image is its name in a registry, with the tag or the digest that was asked for.
	Image string `json:"image"`
	// Top is the document with the digest that is used: a manifest or an index. Member is the manifest that was chosen
	// from an index, and nil without one.
	Top    Document  `json:"top"`
	Member *Document `json:"member,omitempty"`
	// Policy is the policy.json, or empty if there is none. RuleDir and TrustedRoot are those of [trust.Options].
	Policy      string `json:"policy,omitempty"`
	RuleDir     string `json:"ruleDir"`
	TrustedRoot string `json:"trustedRoot,omitempty"`
	// Scopes are those of the rules that the build has read, sorted. If RuleDir has others, nothing is admitted.
	Scopes []string `json:"scopes"`
	// AuthFile has credentials for registries. It need not exist.
	AuthFile string `json:"authFile"`
}

// A Document is a manifest or an index.
type Document struct {
	MediaType string `json:"mediaType"`
	Raw       []byte `json:"raw"`
}

// document returns the document with its digest.
func (d Document) document() oci.Document {
	return oci.Document{Raw: d.Raw, MediaType: d.MediaType, Digest: digest.FromBytes(d.Raw)}
}

// An Answer says what was decided: by which signatures the image is admitted, or else why it is not.
type Answer struct {
	Signatures []oci.Signature `json:"signatures,omitempty"`
	Reason     string          `json:"reason,omitempty"`
}

// maxReason limits a reason in characters, each of which has at most 6 bytes in JSON. An answer is one line, which has
// to fit into the reader's buffer.
const maxReason = 8 << 10

// Run writes [Ready], reads a [Request] and writes an [Answer], each as one line.
func Run(ctx context.Context, in io.Reader, out io.Writer) error {
	if _, err := fmt.Fprintln(out, Ready); err != nil {
		return err
	}
	var req Request
	if err := json.NewDecoder(in).Decode(&req); err != nil {
		return fmt.Errorf("the question about an image: %w", err)
	}
	signatures, err := req.judge(ctx)
	answer := Answer{Signatures: signatures}
	if err != nil {
		// BuildKit shows one line.
		answer = Answer{Reason: fmt.Sprintf("%.*s", maxReason, strings.ReplaceAll(err.Error(), "\n", "; "))}
		if errors.Is(err, access.ErrDenied) {
			answer.Reason += "; a build reads signatures with the credentials of a secret: " +
				"--secret=id=" + Secret + ",src=$HOME/.docker/config.json"
		}
		if strings.Contains(answer.Reason, "docker-credential-") {
			answer.Reason += "; the secret " + Secret + " must have the credentials themselves: programs that keep them " +
				"(credsStore, credHelpers) are not on the builder"
		}
	}
	return json.NewEncoder(out).Encode(answer)
}

// judge returns the signatures by which the image is admitted.
func (r *Request) judge(ctx context.Context) ([]oci.Signature, error) {
	opts := trust.Options{Policy: r.Policy, RuleDirs: []string{r.RuleDir}, TrustedRoot: r.TrustedRoot, Require: true}
	if _, err := os.Stat(r.AuthFile); err == nil {
		opts.Registry.AuthFile = r.AuthFile
	} else {
		opts.Registry = access.Options{Anonymous: true}
	}
	all, err := trust.LoadRules(r.RuleDir)
	if err != nil {
		return nil, err
	}
	if got := all.Scopes(); !slices.Equal(got, r.Scopes) {
		return nil, fmt.Errorf("%s has rules for %q on the builder, and the build has read rules for %q: a symbolic link "+
			"must not lead out of the directory, and the files must not change meanwhile", r.RuleDir, got, r.Scopes)
	}
	gate, err := trust.New(opts).Admit(imgref.OstreeImageReference{
		Signature: imgref.SignatureSource{Kind: imgref.ContainerPolicy},
		Image:     imgref.ImageReference{Transport: imgref.Registry, Name: r.Image},
	})
	if err != nil {
		return nil, err
	}
	if err := gate.Top(ctx, r.Top.document()); err != nil {
		return nil, err
	}
	if r.Member != nil {
		if err := gate.Member(ctx, r.Member.document()); err != nil {
			return nil, err
		}
	}
	found := gate.Signatures()
	if len(found) == 0 {
		return nil, errors.New("no signature was found")
	}
	return found, nil
}
