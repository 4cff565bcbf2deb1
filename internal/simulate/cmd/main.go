// Command cmd replays updates of an image under several packings and prints what hosts download as Markdown tables.
//
//	go run ./internal/simulate/cmd                                       the Fedora list
//	go run ./internal/simulate/cmd -debian / -every 7 -end 2023-01-01    a Debian installation with changelogs
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ostree-ext/ostree-ext-go/internal/simulate"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	const fedora = "chunking/upstream/testdata/fedora-coreos-contentmeta.json.gz"
	list := flag.String("list", fedora, "list of packages with change frequencies")
	years := flag.String("years", "4,16,64", "years that the list's frequencies were counted over, one table for each")
	root := flag.String("debian", "", "root of a Debian installation; its changelogs are replayed instead of the list")
	every := flag.Int("every", 7, "days between updates of the Debian installation")
	end := flag.String("end", "", "last day of the replay (default: the newest changelog entry)")
	updates := flag.Int("updates", 50, "number of updates")
	layers := flag.String("layers", "16,32,64,100,120", "numbers of layers")
	only := flag.String("packers", "", "names of packers, all if empty: "+
		strings.Join(simulate.Names(simulate.All()), ", "))
	seed := flag.Uint64("seed", 1, "seed of the random numbers")
	flag.Parse()

	worlds, err := worlds(*root, *end, *every, *list, *years, *updates, *seed)
	if err != nil {
		return err
	}
	counts, err := numbers(*layers)
	if err != nil {
		return err
	}
	packers, err := choose(*only)
	if err != nil {
		return err
	}
	for _, world := range worlds {
		results, err := simulate.Run(ctx, world, packers, counts, runtime.NumCPU())
		if err != nil {
			return err
		}
		if err := simulate.Table(os.Stdout, world, results); err != nil {
			return err
		}
		fmt.Println()
	}
	return nil
}

func worlds(root, end string, every int, list, years string, updates int, seed uint64) ([]*simulate.World, error) {
	if updates < 1 || every < 1 {
		return nil, errors.New("-updates and -every must be at least 1")
	}
	if root != "" {
		sources, err := simulate.ReadDebian(root)
		if err != nil {
			return nil, err
		}
		last := simulate.Newest(sources)
		if end != "" {
			if last, err = time.Parse(time.DateOnly, end); err != nil {
				return nil, err
			}
		}
		return []*simulate.World{simulate.DebianWorld(sources, last, every, updates, seed)}, nil
	}
	packages, err := simulate.ReadList(list)
	if err != nil {
		return nil, err
	}
	spans, err := numbers(years)
	if err != nil {
		return nil, err
	}
	var all []*simulate.World
	for _, y := range spans {
		all = append(all, packages.World(float64(y), updates, seed))
	}
	return all, nil
}

func choose(names string) ([]simulate.Packer, error) {
	all := simulate.All()
	if names == "" {
		return all, nil
	}
	var chosen []simulate.Packer
	for name := range strings.SplitSeq(names, ",") {
		i := slices.Index(simulate.Names(all), strings.TrimSpace(name))
		if i < 0 {
			return nil, fmt.Errorf("there is no packer %q", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func numbers(list string) ([]int, error) {
	var all []int
	for field := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a list of numbers above 0", list)
		}
		all = append(all, n)
	}
	return all, nil
}
