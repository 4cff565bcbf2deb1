package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ostree-ext/ostree-ext-go/container/store"
	"github.com/ostree-ext/ostree-ext-go/repo"
)

// A completion returns what the word that is being typed could become. args are the operands before it.
type completion func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective)

// hashes are the algorithms of ima-sign.
var hashes = []string{"sha1", "sha224", "sha256", "sha384", "sha512"}

// operands says what the operands of each command are. The last one may be repeated if the command allows that.
var operands = map[string][]completion{
	"advise":                                    {trees, trees},
	"chunks diff":                               {images, images},
	"chunks explain":                            {refs, nothing},
	"chunks history":                            {images},
	"chunks plan":                               {refs},
	"chunks show":                               {images},
	"compose rechunk":                           {images, images},
	"container build":                           {images},
	"container compare":                         {ostreeImages, ostreeImages},
	"container encapsulate":                     {refs, images},
	"container info":                            {ostreeImages},
	"container image clear-cached-update":       {stored},
	"container image copy":                      {ostreeImages},
	"container image diff":                      {stored, storedOrElsewhere},
	"container image history":                   {stored},
	"container image metadata":                  {stored},
	"container image pull":                      {dirs, ostreeImages},
	"container image reexport":                  {stored, images},
	"container image replace-detached-metadata": {files},
	"container image repair":                    {stored},
	"ima-sign":                                  {refs, refs, words(hashes...), files},
	"container image remove":                    {stored},
	"container trust check":                     {anyImages},
	"container trust init":                      {images},
	"container unencapsulate":                   {ostreeImages},
	"container sign":                            {images},
	"container verify":                          {images},
	"diff":                                      {refs, refs},
	"rechunk":                                   {images, images},
	"repo checkout":                             {refs, dirs},
	"repo commit":                               {dirs},
	"repo ls":                                   {refs, nothing},
	"repo pull-local":                           {dirs, refsOfSource},
	"repo refs":                                 {refs},
	"repo rev-parse":                            {refs},
	"repo show":                                 {refs},
	"repo sign":                                 {refs, nothing},
	"tar export":                                {refs},
	"tar import":                                {files},
}

// values says what the values of flags are, by the name of the flag.
var values = map[string]completion{
	"add-detached-metadata-string": nothing, "add-metadata": nothing, "add-metadata-string": nothing,
	"annotation": nothing, "authfile": files, "base": refs, "bind-ref": refs, "body": nothing, "branch": refs,
	"cert-dir": dirs, "check": files, "cmd": nothing, "dest-repo": dirs, "layers": nothing, "max-bytes": nothing,
	"ostree-digestfile": files, "progress": words("auto", "json"), "progress-fd": nothing, "src-repo": dirs,
	"components": files, "compression": words("gzip", "zstd", "none"),
	"compression-level": nothing, "config": files, "contentmeta": files, "copymeta": nothing, "copymeta-opt": nothing,
	"create": refs, "delete-commit": refs, "depth": nothing, "digestfile": files, "directory": dirs,
	"format": words("plain", "ostree"), "format-version": nothing, "from": images, "html": files,
	"keep-base": images, "keep-younger-than": nothing, "label": nothing, "mapping": files, "max-layers": nothing,
	"mode": words("archive", "bare", "bare-user", "bare-user-only"), "only-branch": refs, "owner-gid": nothing,
	"owner-uid": nothing, "packing": words("cost", "upstream"), "parent": refs, "platform": platformNames,
	"prepare": words("ostree"), "previous-build": images, "reference": nothing, "sign-commit": nothing,
	"policy":                      files,
	"print-detached-metadata-key": nothing, "print-metadata-key": nothing, "prior": priors,
	"rate": nothing, "rebalance": words("never", "auto", "always"), "remote": nothing, "repo": dirs, "rootfs": dirs,
	"selinux": words("auto", "off"), "skip-list": files, "statoverride": files, "subdir": nothing, "subject": nothing,
	"subpath": nothing, "timestamp": nothing,
	"update-interval": words("daily", "weekly", "biweekly", "monthly", "quarterly", "yearly"),
	"additional-tag":  nothing, "image": nothing, "imgref": ostreeImages, "karg": nothing, "ostree-remote": nothing,
	signFormatFlag: words("attachment", "bundle", "both"), signKeyFlag: files, signPassphraseFlag: files,
	signTokenFlag: files,
	"stateroot":   nothing, "sysroot": dirs, "target-imgref": ostreeImages,
	"transport":   words("registry", "oci", "oci-archive", "dir", "docker-archive", "containers-storage"),
	"gpg-homedir": dirs, "gpg-sign": nothing, "keys-dir": dirs, "keys-file": files, "sign-from-file": files,
	"sign-type":         words("ed25519", "spki"),
	"write-commitid-to": files, "src": images, "root": dirs, "dest": images, "write-result-to": files,
	"var": words("keep", "drop"), "write-ref": refs,
	"identity": nothing, "identity-expression": nothing, "key": files, "lookaside": nothing, "name": nothing,
	"oidc-issuer": words("https://token.actions.githubusercontent.com", "https://gitlab.com",
		"https://accounts.google.com", "https://github.com/login/oauth"),
	"arch": words(architectures...), "config-str": nothing, "prune": nothing, "source-date-epoch": nothing,
	"tag": nothing, "threads": nothing, "write-manifest-to": files, "write-peak-mem-to": files,
	"mirror": nothing, "output": outputs, "signing-config": files,
	"changelog": nothing, "formatter": nothing, "git": dirs, "meta": files, "pretty": nothing, "previous": images,
	"revision": nothing, "version": nothing, "write-changelog": files, "write-mapping": files,
}

// addCompletions sets the completion of the operands and flags of c and of each command below it.
func addCompletions(c *cobra.Command) {
	_, path, _ := strings.Cut(c.CommandPath(), " ")
	if list := operands[path]; len(list) > 0 {
		c.ValidArgsFunction = func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) >= len(list) && c.Args(c, append(args, word)) != nil {
				return nothing(c, args, word)
			}
			return list[min(len(args), len(list)-1)](c, args, word)
		}
	} else if !c.HasSubCommands() {
		c.ValidArgsFunction = nothing
	}
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if complete, ok := values[f.Name]; ok && f.NoOptDefVal == "" {
			_ = c.RegisterFlagCompletionFunc(f.Name, complete) // it fails if there is one, which is the same
		}
	})
	for _, child := range c.Commands() {
		addCompletions(child)
	}
}

func nothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func dirs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// outputs completes where a command writes to: an image, or a file.
func outputs(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if c.Parent().Name() == "compose" {
		return images(c, args, word)
	}
	return files(c, args, word)
}

// words returns the completion of a flag that has a few values.
func words(list ...string) completion {
	return func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return beginning(list, word), cobra.ShellCompDirectiveNoFileComp
	}
}

func beginning(list []string, word string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !strings.HasPrefix(s, word) })
}

func platformNames(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	var list []string
	for _, a := range architectures {
		list = append(list, "linux/"+a)
	}
	return beginning(list, word), cobra.ShellCompDirectiveNoFileComp
}

// refs completes the refs of the repository that --repo or the environment names.
func refs(c *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	flag := ""
	if f := c.Flag("repo"); f != nil {
		flag = f.Value.String()
	}
	path, err := repoPath(flag)
	if err != nil {
		return nothing(c, nil, word)
	}
	return refsOf(path, word)
}

// refsOfSource completes the refs of the repository that the first operand names.
func refsOfSource(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	return refsOf(args[0], word)
}

func refsOf(path, word string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	r, err := repo.Open(path)
	if err != nil {
		return nil, none
	}
	defer r.Close()
	list, err := r.Refs("")
	if err != nil {
		return nil, none
	}
	var names []string
	for _, ref := range list {
		names = append(names, ref.Name)
	}
	return beginning(names, word), none
}

// stored completes the images that are stored in the repository that --repo or the environment names.
func stored(c *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	path, err := repoPath(c.Flag("repo").Value.String())
	if err != nil {
		return nil, none
	}
	r, err := repo.Open(path)
	if err != nil {
		return nil, none
	}
	defer r.Close()
	list, err := store.List(r)
	if err != nil {
		return nil, none
	}
	var names []string
	for _, ref := range list {
		names = append(names, ref.String())
	}
	return beginning(names, word), none
}

// transports are the beginnings of references. The values of those that take a path are completed as files.
var transports = map[string]bool{
	"docker://": false, "oci:": true, "oci-archive:": true, "dir:": true, "docker-archive:": true,
	"containers-storage:": false,
}

// storedOrElsewhere completes a stored image, or a reference that also says how the image is verified.
func storedOrElsewhere(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	list, _ := stored(c, args, word)
	more, directive := ostreeImages(c, args, word)
	return append(list, more...), directive
}

// images completes a reference: the transport, and then the path if there is one.
func images(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	return imagesAfter("", word)
}

// ostreeImages is like [images], for references that also say how the image is verified.
func ostreeImages(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	for _, scheme := range []string{"ostree-image-signed:", "ostree-unverified-image:"} {
		if strings.HasPrefix(word, scheme) {
			return imagesAfter(scheme, word)
		}
	}
	list := []string{"ostree-image-signed:", "ostree-unverified-image:", "ostree-unverified-registry:"}
	for _, remote := range remotesOf(c, args) {
		scheme := "ostree-remote-image:" + remote + ":"
		if strings.HasPrefix(word, scheme) {
			return imagesAfter(scheme, word)
		}
		list = append(list, scheme, "ostree-remote-registry:"+remote+":")
	}
	return beginning(list, word), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// anyImages completes a reference of which signatures are asked for, whether it says so or not.
func anyImages(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	list, directive := ostreeImages(c, args, word)
	plain, _ := images(c, args, word)
	return append(plain, list...), directive
}

// remotesOf returns the remotes of the repository that --repo, the environment or the first operand names.
func remotesOf(c *cobra.Command, args []string) (names []string) {
	var path string
	if f := c.Flag("repo"); f != nil {
		path, _ = repoPath(f.Value.String())
	} else if len(args) > 0 {
		path = args[0]
	}
	r, err := repo.Open(path)
	if err != nil {
		return nil
	}
	defer r.Close()
	for _, group := range r.Config().Groups() {
		if name, ok := strings.CutPrefix(group, `remote "`); ok {
			names = append(names, strings.TrimSuffix(name, `"`))
		}
	}
	return names
}

// priors completes a prior image, which may also be a file, or none.
func priors(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	list, directive := images(c, args, word)
	if !strings.Contains(word, ":") {
		list = append(append(list, beginning([]string{"none"}, word)...), paths("", word)...)
	}
	return list, directive
}

// trees completes a directory or the reference of an image.
func trees(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	list, directive := images(c, args, word)
	if !strings.Contains(word, ":") {
		list = append(list, paths("", word)...)
	}
	return list, directive
}

// imagesAfter completes a reference after a prefix that word has.
func imagesAfter(prefix, word string) ([]string, cobra.ShellCompDirective) {
	const more = cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	rest := strings.TrimPrefix(word, prefix)
	scheme, path, colon := strings.Cut(rest, ":")
	if colon && transports[scheme+":"] {
		if strings.Contains(path, ":") { // a tag
			return nil, more
		}
		return paths(prefix+scheme+":", path), more
	}
	var list []string
	for _, t := range slices.Sorted(maps.Keys(transports)) {
		if strings.HasPrefix(t, rest) {
			list = append(list, prefix+t)
		}
	}
	return list, more
}

// paths returns the files that begin with a path, each after a prefix. Directories end in a slash unless they are
// images.
func paths(prefix, word string) (list []string) {
	dir, base := filepath.Split(word)
	at := dir
	if at == "" {
		at = "."
	}
	entries, err := os.ReadDir(at)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, base) || base == "" && strings.HasPrefix(name, ".") {
			continue
		}
		full := dir + name
		if fi, err := os.Stat(full); err == nil && fi.IsDir() && !isImageDir(full) {
			full += "/"
		}
		list = append(list, prefix+full)
	}
	return list
}

// isImageDir reports whether a directory is an image of the transport oci: or dir:.
func isImageDir(dir string) bool {
	for _, name := range []string{"oci-layout", "manifest.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// completes reports whether the arguments of the program are those of a shell that asks for completions.
func completes(args []string) bool {
	return len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
}
