package frontend

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/gateway/client"
)

const (
	// maxAttempts limits how often layers are fetched because the builder used registries of other builds, which ended.
	maxAttempts = 6
	// firstPause is the pause before the second attempt. Each further pause is twice as long. Fetches through the same
	// registry, which the builder shares among builds, fail in that time.
	firstPause = 100 * time.Millisecond
)

// errElsewhere means that the builder kept using registries of other builds.
var errElsewhere = fmt.Errorf("other builds with the same layers ended while the builder fetched these through them, "+
	"%d times in a row: build again", maxAttempts)

// isFinal reports whether an error is one of fetching layers that making them anew would not help against.
func isFinal(err error) bool {
	return errors.Is(err, ErrUnreachable) || errors.Is(err, errEnded) || errors.Is(err, errElsewhere)
}

// assemble lets the builder fetch the layers, and returns a reference to the image of all layers in order.
//
// Builds share what they fetch: if two have an image in common, the builder fetches it from the registry of the first.
// That ends with its build, which may be cancelled or fail. The second build then gets an error. It tries again, with
// images that no other build has.
func (t *target) assemble(ctx context.Context) (client.Reference, error) {
	salt, pause := "", firstPause
	for n := 1; ; n++ {
		ref, err := t.attempt(ctx, salt)
		if err == nil || ctx.Err() != nil || len(t.registries) == 0 {
			return ref, err
		}
		text := err.Error()
		if final := t.explain(ctx, text); final != nil {
			return nil, final
		}
		if !t.isElsewhere(text) {
			return nil, err
		}
		if n == maxAttempts {
			return nil, fmt.Errorf("%w (%v)", errElsewhere, firstLine(text))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		salt, pause = rand.Text(), 2*pause
	}
}

// nameSize is the number of random bytes in the name of a registry's only repository.
const nameSize = 16

var (
	// imageName matches the name of an image in the registry of a build, and the URL of anything in it.
	imageName = regexp.MustCompile(fmt.Sprintf(`127\.0\.0\.1:[0-9]+/(?:v2/)?([0-9a-f]{%d})(?:[^0-9a-f]|$)`, 2*nameSize))
	// location matches the URL of anything in a registry, and the name of an image there.
	location = regexp.MustCompile(`https?://|@sha256:`)
	// broken matches errors that say that the other end of a connection has gone, or the build that opened it.
	broken = regexp.MustCompile(`\bEOF\b|connection reset|broken pipe|connection refused|connection aborted|` +
		`closed network connection|connection closed|server closed|malformed HTTP|context canceled`)
	// absent matches errors that say that a registry does not have a layer.
	absent = regexp.MustCompile(`from remote: not found|could not fetch content descriptor`)
)

// explain returns an error that says what the user can do about an error in fetching layers, or nil if there is nothing
// but to try again or to make other layers. It waits for a moment if a registry of ours may have ended, since the
// builder's error can arrive before the news of that.
func (t *target) explain(ctx context.Context, text string) error {
	for _, r := range t.registries {
		// The builder keeps asking the registry from which it first learned of a layer, so look at all of them.
		if err := r.ended(ctx, text, 0); err != nil {
			return err
		}
	}
	if t.isElsewhere(text) && imageName.MatchString(text) {
		return nil
	}
	for _, r := range t.registries {
		if err := r.ended(ctx, text, endTimeout); err != nil {
			return err
		}
		// A registry that runs listens. So the builder asked in a network where it is not.
		if r.process != nil && strings.Contains(text, "refused") && strings.Contains(text, r.process.first) {
			// What is wrapped around an error of the builder does not reach the user.
			return fmt.Errorf("%w (%v)", ErrUnreachable, firstLine(text))
		}
	}
	return nil
}

// ended returns an error if the registry has ended. If an error of the builder may be due to that, it waits for the
// news, but not longer than d.
func (r *registry) ended(ctx context.Context, text string, d time.Duration) error {
	if r.process == nil {
		return nil
	}
	if broken.MatchString(text) || strings.Contains(text, r.repository) && !r.refused() {
		r.process.awaitEnd(ctx, d)
	}
	if err := r.process.failure(); err != nil {
		return fmt.Errorf("%w (%v)", err, firstLine(text))
	}
	return nil
}

// isElsewhere reports whether an error of the builder is about a registry of another build. Such a registry may have
// ended, may not get a layer of the prior image, or another program may have its address by now, so all errors about it
// count. An error may also name no registry; then it is about another one if ours still run and have what they offer.
func (t *target) isElsewhere(text string) bool {
	names := imageName.FindAllStringSubmatch(text, -1)
	for _, m := range names {
		if !slices.ContainsFunc(t.registries, func(r *registry) bool { return r.repository == m[1] }) {
			return true
		}
	}
	if len(names) > 0 || location.MatchString(text) {
		return false
	}
	return broken.MatchString(text) ||
		absent.MatchString(text) && !slices.ContainsFunc(t.registries, (*registry).refused)
}
