//go:build interop && containers_image_openpgp

package setup_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"

	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"

	"github.com/ostree-ext/ostree-ext-go/container/trust/setup"
	"github.com/ostree-ext/ostree-ext-go/internal/sigstorefixture"
)

// TestTheContainerToolsAcceptWhatTheFilesSay has the library of podman, skopeo and bootc judge images that the real
// cosign signed, by the files in the home of a user.
func TestTheContainerToolsAcceptWhatTheFilesSay(t *testing.T) {
	for _, c := range []struct {
		name string
		keys []int
	}{{"one key", []int{1}}, {"two keys", []int{1, 2}}} {
		t.Run(c.name, func(t *testing.T) {
			newHome(t)
			opts := setup.Options{Scope: sigstorefixture.Host + "/os", NoBundles: true}
			for _, n := range c.keys {
				opts.Keys = append(opts.Keys, publicKey(t, n))
			}
			write(t, opts)
			judged := 0
			for _, v := range sigstorefixture.Verdicts(t) {
				// This library does not look at an index whose member it was asked about.
				if v.Bundles || len(v.Keys) != len(c.keys) || v.Keys[0] != 1 || strings.Contains(v.Image, "idx") {
					continue
				}
				judged++
				if err := judge(t.Context(), sigstorefixture.Name(v.Image)); (err == nil) != v.Accept {
					t.Errorf("%s: accepted is wanted: %t, got %v", v, v.Accept, err)
				}
			}
			if judged < 5 {
				t.Errorf("only %d images were judged", judged)
			}
		})
	}
}

// judge returns an error if the default policy does not accept an image.
func judge(ctx context.Context, name string) (err error) {
	proxy, err := url.Parse(os.Getenv("HTTPS_PROXY"))
	if err != nil {
		return err
	}
	sys := &types.SystemContext{DockerProxyURL: proxy, DockerInsecureSkipTLSVerify: types.OptionalBoolTrue}
	policy, err := signature.DefaultPolicy(sys)
	if err != nil {
		return err
	}
	pc, err := signature.NewPolicyContext(policy)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pc.Destroy()) }()
	ref, err := docker.ParseReference("//" + name)
	if err != nil {
		return err
	}
	src, err := ref.NewImageSource(ctx, sys)
	if err != nil {
		return err
	}
	defer src.Close()
	_, err = pc.IsRunningImageAllowed(ctx, image.UnparsedInstance(src, nil))
	return err
}
