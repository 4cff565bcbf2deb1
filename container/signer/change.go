package signer

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ostree-ext/ostree-ext-go/container/dest/upload"
	"github.com/ostree-ext/ostree-ext-go/container/source"
)

// settleTime is how long to wait, at least, before looking whether what was written to a tag is still there. It is
// longer than what lies between reading and writing in another program that does the same.
const settleTime = 400 * time.Millisecond

// maxRounds is how often a change is made if others undo it.
const maxRounds = 8

// change adds something to the document at a tag.
type change struct {
	tag       string
	mediaType string
	// add returns the document with the addition, and nil if it has that already. old is nil if there is none.
	add func(ctx context.Context, old []byte, mediaType string) ([]byte, error)
}

// apply makes a change, and reports whether it was necessary.
func (s *session) apply(ctx context.Context, c *change) (bool, error) {
	old, mediaType, err := s.at(ctx, c.tag)
	if err != nil {
		return false, err
	}
	var data []byte
	// Blobs that the addition needs were sent when it is made again, so that this takes no time then.
	for round := 0; ; round++ {
		if round == maxRounds {
			return false, fmt.Errorf("the tag %s: %w", c.tag, ErrContended)
		}
		if data, err = c.add(ctx, old, mediaType); err != nil {
			return false, fmt.Errorf("the tag %s: %w", c.tag, err)
		}
		if data == nil {
			return false, nil
		}
		var now []byte
		if now, mediaType, err = s.at(ctx, c.tag); err != nil {
			return false, err
		}
		if bytes.Equal(now, old) {
			break
		}
		old = now
	}
	if _, err := s.to.PutManifest(ctx, c.tag, c.mediaType, data); err != nil {
		return false, fmt.Errorf("writing the tag %s: %w", c.tag, err)
	}
	return true, nil
}

// at returns the document at a tag, or nil if there is none. Whatever is there is read, so that it is not overwritten
// if it is something else.
func (s *session) at(ctx context.Context, tag string) (data []byte, mediaType string, err error) {
	data, mediaType, err = s.to.Manifest(ctx, tag, manifestTypes)
	if upload.Absent(err) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading the tag %s: %w", tag, err)
	}
	if mediaType, err = source.ManifestType(data, mediaType); err != nil {
		return nil, "", fmt.Errorf("the tag %s: %w: %w", tag, ErrForeignTag, err)
	}
	return data, mediaType, nil
}

// settle makes changes again until none of those that were necessary is any more.
func (s *session) settle(ctx context.Context, all []*pending) error {
	var made []*change
	for _, p := range all {
		if p.change != nil && p.Added {
			made = append(made, p.change)
		}
	}
	for round := 0; len(made) > 0; round++ {
		if round == maxRounds {
			return fmt.Errorf("the tag %s: %w", made[0].tag, ErrContended)
		}
		// Programs that began at the same time drift apart.
		if err := sleep(ctx, s.opts.pause+rand.N(s.opts.pause)); err != nil {
			return err
		}
		changed := make([]bool, len(made))
		work, inner := errgroup.WithContext(ctx)
		work.SetLimit(parallelism)
		for i, c := range made {
			work.Go(func() (err error) {
				changed[i], err = s.apply(inner, c)
				return err
			})
		}
		if err := work.Wait(); err != nil {
			return err
		}
		var again []*change
		for i, c := range made {
			if changed[i] {
				again = append(again, c)
			}
		}
		made = again
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
