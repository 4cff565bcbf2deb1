package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/programs"
)

// publication says where images go, and how they are signed.
type publication struct {
	registry, sign, signingConfig string
}

// publish pushes the images of a release with two tags, the version and latest, and signs them.
func publish(ctx context.Context, dist string, to publication) error {
	if to.registry == "" {
		return errors.New("say where to: REGISTRY=ghcr.io/ostree-ext")
	}
	data, err := os.ReadFile(filepath.Join(dist, versionFile))
	if err != nil {
		return fmt.Errorf("%s has no release, which make release makes: %w", dist, err)
	}
	version := strings.TrimSpace(string(data))
	signer := filepath.Join(dist, command+"-"+version+"-linux-"+runtime.GOARCH)
	args, err := to.arguments()
	if err != nil {
		return err
	}
	for _, name := range []string{command, frontend} {
		index, err := programs.ReadLayout(filepath.Join(dist, imagesDir, name))
		if err != nil {
			return err
		}
		image := strings.TrimSuffix(to.registry, "/") + "/" + name
		byVersion := programs.Destination{Image: image + ":" + version}
		latest := programs.Destination{Image: image + ":latest"}
		if err := byVersion.Check(); err != nil {
			return err
		}
		// Who asks for the latest version gets it when it can be had by its version and is signed.
		digest, err := byVersion.Write(ctx, index)
		if err != nil {
			return fmt.Errorf("pushing %s: %w", byVersion.Image, err)
		}
		pushed := byVersion.Image + "@" + digest.String()
		if to.sign != "" {
			cmd := exec.CommandContext(ctx, signer, append(args, "--additional-tag="+version, "--additional-tag=latest",
				"docker://"+image+"@"+digest.String())...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%s was pushed and is not signed: %w", pushed, err)
			}
		}
		if _, err := latest.Write(ctx, index); err != nil {
			return fmt.Errorf("pushing %s: %w", latest.Image, err)
		}
		if _, err := fmt.Println(pushed); err != nil {
			return err
		}
	}
	return nil
}

// arguments returns the command that signs, without the image.
func (p *publication) arguments() ([]string, error) {
	args := []string{"container", "sign", "--quiet"}
	switch p.sign {
	case "":
		return nil, nil
	case "keyless":
		if p.signingConfig == "" {
			return nil, errors.New("signing without a key needs SIGNING_CONFIG=FILE, which \"ostree-ext container trust " +
				"update\" writes")
		}
		return append(args, "--sign-identity-token=auto", "--signing-config="+p.signingConfig), nil
	}
	if _, err := os.Stat(p.sign); err != nil {
		return nil, fmt.Errorf("the key to sign with: %w", err)
	}
	return append(args, "--sign-by-sigstore-private-key="+p.sign), nil
}
