package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/ostree-ext/ostree-ext-go/encapsulate/request"
	"github.com/ostree-ext/ostree-ext-go/internal/output"
)

// chunkahManifest is what --write-manifest-to writes, as chunkah does.
type chunkahManifest struct {
	Components map[string]chunkahComponent `json:"components"`
}

type chunkahComponent struct {
	FileCount int    `json:"file_count"`
	Size      uint64 `json:"size"`
	// Stability is that of the layer that has the component.
	Stability float64  `json:"stability"`
	Files     []string `json:"files"`
}

// writeManifest writes the components of a plan to the file that the options name.
func (f *chunkahBuild) writeManifest(ctx context.Context, p *request.Planned) error {
	if f.manifest == "" {
		return nil
	}
	m := chunkahManifest{Components: map[string]chunkahComponent{}}
	if a := p.Arrangement; a != nil {
		stability := map[string]float64{}
		for _, l := range a.Layers {
			for _, id := range l.Components {
				stability[id] = 1 - l.Probability
			}
		}
		for _, u := range a.Units {
			c := chunkahComponent{FileCount: len(u.Entries), Size: u.Size, Stability: stability[u.ID], Files: []string{}}
			for _, i := range u.Entries {
				c.Files = append(c.Files, p.Tree.Entries().At(int(i)).Path())
			}
			m.Components[u.ID] = c
		}
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := output.WriteFile(ctx, f.manifest, data); err != nil {
		return fmt.Errorf("--write-manifest-to: %w", err)
	}
	return nil
}

// writePeak writes the most memory that this process used to the file that the options name.
func (f *chunkahBuild) writePeak() error {
	if f.peak == "" {
		return nil
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	fields := strings.Fields(rest)
	if len(fields) < 2 || fields[1] != "kB" {
		return errors.New("/proc/self/status does not say how much memory was used")
	}
	kib, err := strconv.ParseUint(fields[0], 10, 64)
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.peak, fmt.Appendf(nil, "%d\n", kib<<10), 0o644); err != nil {
		return fmt.Errorf("--write-peak-mem-to: %w", err)
	}
	return nil
}
