package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/imgref"
)

// parseImageReference parses a value that says where an image is. what is the argument or flag that has the value. A
// mistake is a usage error.
func parseImageReference(what, arg string) (imgref.ImageReference, error) {
	ref, err := imgref.ParseImageReference(arg)
	if err == nil {
		return ref, checkName(what, arg, ref)
	}
	if _, notNamed := strconv.ParseBool(arg); notNamed == nil && what == "--keep-base" {
		return ref, usagef("invalid value '%s' for '--keep-base': name the base image", arg)
	}
	return ref, usagef("invalid value '%s' for '%s': %w%s", arg, what, err, didYouMean(arg, ""))
}

// parseDestination is like [parseImageReference], for an image that is to be written.
func parseDestination(what, arg string) (imgref.ImageReference, error) {
	ref, err := parseImageReference(what, arg)
	if err == nil && ref.Transport == imgref.DockerDaemon {
		err = usagef("invalid value '%s' for '%s': write to 'docker-archive:FILE:%s', and load that with "+
			"'docker load -i FILE'", arg, what, ref.Name)
	}
	return ref, err
}

// parseOstreeReference parses a value that says where an image is and how it is verified. A mistake is a usage error.
func parseOstreeReference(what, arg string) (imgref.OstreeImageReference, error) {
	ref, err := imgref.ParseOstreeImageReference(arg)
	if err == nil {
		return ref, checkName(what, arg, ref.Image)
	}
	return ref, usagef("invalid value '%s' for '%s': %w%s", arg, what, err, didYouMean(arg, "ostree-unverified-image:"))
}

// parseEitherReference parses a value that says where an image is. It may begin with how the image is verified; if
// not, it is not verified.
func parseEitherReference(what, arg string) (imgref.OstreeImageReference, error) {
	if ref, err := imgref.ParseOstreeImageReference(arg); err == nil {
		return ref, checkName(what, arg, ref.Image)
	}
	ref, err := parseImageReference(what, arg)
	return imgref.Unverified(ref), err
}

// checkName checks the name of an image before any work is done.
func checkName(what, arg string, ref imgref.ImageReference) error {
	name := ""
	switch path, tag := ref.PathAndTag(); ref.Transport {
	case imgref.Registry:
		name = ref.Name
	case imgref.DockerArchive:
		if !strings.HasPrefix(tag, "@") {
			name = tag
		}
	case imgref.ContainersStorage:
		// It also takes IDs, so only names with capitals are certainly wrong.
		if !strings.ContainsAny(ref.Name, "[@") && strings.ToLower(ref.Name) != ref.Name {
			name = ref.Name
		}
	default:
		if strings.HasPrefix(path, "//") {
			prefix, _, _ := strings.Cut(arg, "//")
			return usagef("invalid value '%s' for '%s': a path has one slash at most at its beginning; did you mean '%s%s'?",
				arg, what, prefix, path[2:])
		}
	}
	if name == "" {
		return nil
	}
	err := access.CheckName(name)
	if err == nil {
		return nil
	}
	if bare := strings.TrimLeft(name, "/"); bare != name && access.CheckName(bare) == nil {
		return usagef("invalid value '%s' for '%s': %w; did you mean 'docker://%s'?", arg, what, err, bare)
	}
	return usagef("invalid value '%s' for '%s': %w", arg, what, err)
}

// didYouMean returns what to add to the error about a reference: the one that was probably meant, or else how
// references begin. prefix precedes the transport of a valid reference.
func didYouMean(arg, prefix string) string {
	meant := ""
	if other, err := imgref.ParseOstreeImageReference(arg); err == nil {
		meant = other.Image.String()
	} else if ref, err := imgref.ParseImageReference(withTransport(arg)); err == nil {
		if meant = ref.String(); prefix != "" {
			if ref, err := imgref.ParseOstreeImageReference(prefix + meant); err == nil {
				meant = ref.String()
			}
		}
	}
	if meant != "" {
		return fmt.Sprintf("; did you mean '%s'?", meant)
	}
	if name := arg[strings.LastIndexByte(arg, ':')+1:]; strings.Trim(name, "/") == "" {
		return fmt.Sprintf("; name the image, as in '%[1]sdocker://registry.example/app', '%[1]soci:DIRECTORY' or "+
			"'%[1]soci-archive:FILE'", prefix)
	}
	return fmt.Sprintf("; begin with where the image is, as in '%[1]sdocker://%[2]s' for a registry, "+
		"'%[1]soci:%[2]s' for a directory or '%[1]soci-archive:%[2]s' for a file", prefix, arg)
}

// withTransport guesses the transport that is missing or misspelt in arg. It returns arg if there is no good guess.
func withTransport(arg string) string {
	scheme, name, colon := strings.Cut(arg, ":")
	if lower := strings.ToLower(scheme); colon {
		switch lower {
		case "http", "https", "docker", "registry":
			return "docker://" + strings.TrimLeft(name, "/")
		}
		if _, err := imgref.ParseTransport(lower); err == nil {
			return lower + ":" + name
		}
		if rest, ok := strings.CutPrefix(name, "//"); ok {
			return "docker://" + rest
		}
	}
	fi, err := os.Stat(arg)
	switch {
	case err == nil && fi.IsDir():
		return "oci:" + arg
	case err == nil, strings.HasSuffix(arg, ".tar"), strings.HasSuffix(arg, ".ociarchive"):
		return "oci-archive:" + arg
	case strings.HasPrefix(arg, "/"), strings.HasPrefix(arg, "./"), strings.HasPrefix(arg, "../"):
		return "oci:" + arg
	case strings.ContainsAny(arg, "/:") && access.CheckName(arg) == nil:
		return "docker://" + arg
	}
	return arg
}

// checkFetch returns a usage error if the options for registries contradict each other. It warns if options are given
// that have no effect, because none of the images is in a registry, or none of the references asks for signatures.
func (a *app) checkFetch(fs *pflag.FlagSet, o *access.Options, images ...string) error {
	if o.Check() != nil {
		return usagef("--auth-anonymous and --authfile: choose one")
	}
	if fs.Changed("policy") && !asksForSignatures(fs, images) {
		a.warn("--policy has no effect: none of the references asks for signatures")
	}
	for _, arg := range images {
		if ref, err := imgref.ParseOstreeImageReference(arg); err == nil {
			arg = ref.Image.String()
		}
		if ref, err := imgref.ParseImageReference(arg); err == nil && ref.Transport == imgref.Registry {
			return nil
		}
	}
	for _, name := range []string{"auth-anonymous", "authfile", "cert-dir", "insecure-skip-tls-verification"} {
		if fs.Changed(name) {
			a.warn("--" + name + " has no effect: none of the images is in a registry")
		}
	}
	return nil
}

// asksForSignatures reports whether a reference asks for signatures, or an option does instead.
func asksForSignatures(fs *pflag.FlagSet, refs []string) bool {
	for _, name := range []string{"verify", "enforce-container-sigpolicy"} {
		if fs.Changed(name) {
			return true
		}
	}
	return slices.ContainsFunc(refs, func(arg string) bool {
		ref, err := imgref.ParseOstreeImageReference(arg)
		return err == nil && ref.Signature.Kind == imgref.ContainerPolicy
	})
}
