package frontend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/frontend/judge"
	"github.com/ostree-ext/ostree-ext-go/internal/printable"
)

// Directories in the container of a judge, besides the files of a host.
const (
	dirSelf   = "/.ostree-ext"
	dirTmp    = "/.ostree-ext-tmp"
	judgeAuth = "/.ostree-ext-secrets/auth.json"
)

// besides are the files of a host that say where signatures are and how to speak to their servers. Private keys of
// clients, which certs.d may have, too, are not among them: nobody expects that they are sent to a builder.
var besides = []string{
	"etc/containers/registries.conf", "etc/containers/registries.conf.d", "etc/containers/registries.d",
	"etc/containers/certs.d/*/*.crt", "etc/docker/certs.d/*/*.crt", "usr/share/containers/registries.conf",
	"usr/share/containers/registries.conf.d", "usr/share/containers/registries.d",
	"etc/ssl/certs/ca-certificates.crt", "etc/pki/tls/certs/ca-bundle.crt",
}

// alone are those that may be beside a policy.json that is alone.
var alone = []string{"registries.conf", "registries.d", "certs.d/*/*.crt"}

// secrets are private keys of clients with their certificates. They are excluded, because a symbolic link among the
// directories of registries has the client send whole directories.
var secrets = []string{"**/certs.d/**/*.key", "**/certs.d/**/*.cert"}

// parallelJudges limits how many judges run at the same time.
const parallelJudges = 4

// lookaside is the directory of a host that has signatures by GPG. Often only root may look into it.
const lookaside = "var/lib/containers/sigstore"

// hostFiles returns the files of the directory that a judge needs. They need not exist.
func (t *trust) hostFiles() []string {
	paths := []string{t.ruleDir + rulePattern, t.trustedRoot}
	if t.ruleDir == layouts[0].rules {
		paths = append(paths, alone...)
	} else {
		paths = append(paths, besides...)
	}
	if t.policy != nil {
		paths = append(append(paths, t.file), t.policy.KeyFiles()...)
		if t.policy.GPG() {
			paths = append(paths, lookaside)
		}
	}
	for _, rule := range t.rules {
		for _, s := range rule.SignedBy {
			paths = append(append(paths, s.Keys()...), s.TrustedRoot)
		}
	}
	paths = slices.DeleteFunc(paths, func(p string) bool { return p == "" })
	for i, p := range paths {
		paths[i] = t.dir.path(p)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// hostRoot returns the root directory for a judge. Nobody but root may write to its files, as those who read rules
// demand; the client's own modes say nothing about who may write to a build.
func (b *job) hostRoot(ctx context.Context, t *trust) (_ client.Reference, err error) {
	t.rooting.Lock()
	defer t.rooting.Unlock()
	if t.root != nil {
		return t.root, nil
	}
	d := t.dir
	st, err := d.state(ctx, t.hostFiles())
	if err != nil {
		return nil, err
	}
	info := llb.CopyInfo{
		Mode: &llb.ChmodOpt{ModeStr: "u=rwX,go=rX"}, ChownOpt: &llb.ChownOpt{User: &llb.UserOpt{}, Group: &llb.UserOpt{}},
		CopyDirContentsOnly: true, CreateDestPath: true, FollowSymlinks: true,
	}
	root := llb.Scratch().File(llb.Copy(st, d.base, "/", &info).
		Mkdir(dirSelf, 0o755, llb.WithParents(true)).Mkdir(dirTmp, 0o755, llb.WithParents(true)).
		Mkdir(path.Dir(judgeAuth), 0o755, llb.WithParents(true)), llb.WithCustomName("[verify] load the files of a host"))
	if t.ruleDir == layouts[0].rules {
		info.IncludePatterns = []string{"registries.conf", "registries.d", "certs.d"}
		root = root.File(llb.Copy(st, d.base, "/etc/containers", &info),
			llb.WithCustomName("[verify] load the files about registries"))
	}
	t.root, err = b.solveWith(ctx, b.images, root)
	return t.root, err
}

// judgeAsHost returns the signatures by which an image is admitted as on a host. A process in a container of the
// builder decides, because BuildKit does not fetch what it needs.
func (a *admission) judgeAsHost(
	ctx context.Context, as reference.Named, pinned reference.Canonical, config []byte, p ocispec.Platform,
) ([]oci.Signature, error) {
	select {
	case a.trust.judges <- struct{}{}:
		defer func() { <-a.trust.judges }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	req, err := a.question(ctx, as, pinned, config, p)
	if err != nil {
		return nil, err
	}
	if err := a.job.loadSelf(ctx); err != nil {
		return nil, err
	}
	root, err := a.job.hostRoot(ctx, a.trust)
	if err != nil {
		return nil, errors.New(firstLine(err.Error()))
	}
	proc, err := a.job.start(ctx, &task{
		name: "the judge of signatures, a process that this build runs on the builder,", until: "it had decided",
		root: root, program: path.Join(dirSelf, a.job.program),
		mounts: []client.Mount{
			readonly(dirSelf, a.job.selfRef),
			{Dest: dirTmp, MountType: pb.MountType_TMPFS},
			{Dest: judgeAuth, MountType: pb.MountType_SECRET, SecretOpt: &pb.SecretOpt{
				ID: judge.Secret, Mode: 0o400, Optional: true,
			}},
		},
		network: pb.NetMode_UNSET, args: []string{"judge"}, env: a.job.proxies("TMPDIR=" + dirTmp),
	})
	if err != nil {
		return nil, err
	}
	defer proc.stop()
	if proc.first != judge.Ready {
		return nil, fmt.Errorf("the judge of signatures says %.100q", proc.first)
	}
	answer, err := proc.ask(ctx, req)
	switch {
	case err != nil:
		return nil, err
	case answer.Reason != "" || len(answer.Signatures) == 0:
		return nil, errors.New(printable.Line(answer.Reason))
	}
	return answer.Signatures, nil
}

// question returns what a judge is asked about an image.
func (a *admission) question(
	ctx context.Context, as reference.Named, pinned reference.Canonical, config []byte, p ocispec.Platform,
) (*judge.Request, error) {
	read := map[digest.Digest][]byte{}
	member, _, err := findManifest(pinned.Digest(), digest.FromBytes(config), p, func(d digest.Digest) ([]byte, error) {
		data, err := a.blob(ctx, pinned.Name(), d, maxManifest)
		read[d] = data
		return data, err
	})
	if err != nil {
		return nil, fmt.Errorf("its manifest cannot be read: %w", err)
	}
	req := &judge.Request{
		Image: as.String(), Top: documentOf(read[pinned.Digest()]), RuleDir: "/" + a.trust.ruleDir, AuthFile: judgeAuth,
		Scopes: slices.Sorted(maps.Keys(a.trust.rules)),
	}
	if c, ok := as.(reference.Canonical); ok {
		req.Image = c.Name() + "@" + c.Digest().String()
	}
	if member != pinned.Digest() {
		m := documentOf(read[member])
		req.Member = &m
	}
	if a.trust.policy != nil {
		req.Policy = "/" + a.trust.file
	}
	req.TrustedRoot = "/" + a.trust.trustedRoot
	return req, nil
}

// documentOf returns a manifest or an index with its media type, which BuildKit does not tell.
func documentOf(data []byte) judge.Document {
	var says struct {
		MediaType string            `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
	}
	if json.Unmarshal(data, &says) == nil && says.MediaType == "" && len(says.Manifests) > 0 {
		says.MediaType = ocispec.MediaTypeImageIndex
	}
	return judge.Document{MediaType: says.MediaType, Raw: data}
}

// ask sends a question and waits for the answer.
func (p *process) ask(ctx context.Context, req *judge.Request) (*judge.Answer, error) {
	data, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	// Neither writing nor reading ends by itself if the build is cancelled.
	defer context.AfterFunc(ctx, p.stop)()
	if _, err = p.answers.Write(append(data, '\n')); err == nil {
		var line string
		if line, err = p.line(); err == nil {
			answer := &judge.Answer{}
			if err = json.Unmarshal([]byte(line), answer); err == nil {
				return answer, nil
			}
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("asking the judge of signatures: %w", err)
}

// proxies adds the build arguments about proxies to an environment.
func (b *job) proxies(env ...string) []string {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"} {
		for _, n := range []string{name, strings.ToLower(name)} {
			if value := b.opts.Opts["build-arg:"+n]; value != "" {
				env = append(env, n+"="+value)
			}
		}
	}
	return env
}
