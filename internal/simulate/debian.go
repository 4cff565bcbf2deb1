package simulate

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/mail"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Source is one Debian source package of an installation.
type Source struct {
	Name string
	Size uint64 // bytes, the installed size of its binary packages
	Days []int  // days since 1970 with a changelog entry, ascending
}

// maxChangelog is how many decompressed bytes are read from one changelog.
const maxChangelog = 64 << 20

// ReadDebian reads the package database and the changelogs of a root filesystem. Sources without a dated changelog
// entry are left out, since it is not known when they changed.
func ReadDebian(root string) ([]Source, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	binaries, err := readStatus(dir.FS())
	if err != nil {
		return nil, err
	}
	sources := map[string]*Source{}
	for _, b := range binaries {
		s := sources[b.source]
		if s == nil {
			s = &Source{Name: b.source}
			sources[b.source] = s
		}
		s.Size += b.size
		days, err := readChangelog(dir.FS(), b.name)
		if err != nil {
			return nil, fmt.Errorf("changelog of %s: %w", b.name, err)
		}
		s.Days = append(s.Days, days...)
	}
	var list []Source
	for _, s := range sources {
		slices.Sort(s.Days)
		if s.Days = slices.Compact(s.Days); len(s.Days) > 0 {
			list = append(list, *s)
		}
	}
	slices.SortFunc(list, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no package with a changelog; slim images have none", root)
	}
	return list, nil
}

type binary struct {
	name, source string
	size         uint64
}

func readStatus(root fs.FS) ([]binary, error) {
	f, err := root.Open("var/lib/dpkg/status")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []binary
	var b binary
	installed := false
	flush := func() {
		if installed && b.name != "" {
			if b.source == "" {
				b.source = b.name
			}
			list = append(list, b)
		}
		b, installed = binary{}, false
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "":
			flush()
		case "Package":
			b.name = value
		case "Status":
			installed = strings.HasSuffix(value, " installed")
		case "Source":
			b.source, _, _ = strings.Cut(value, " ")
		case "Installed-Size":
			kib, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("installed size of %s: %w", b.name, err)
			}
			b.size = kib << 10
		}
	}
	flush()
	return list, lines.Err()
}

// readChangelog returns the days of a binary package's changelog, or none if there is no changelog.
func readChangelog(root fs.FS, name string) ([]int, error) {
	for _, file := range []string{"changelog.Debian.gz", "changelog.gz", "changelog.Debian", "changelog"} {
		f, err := root.Open(path.Join("usr/share/doc", name, file))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(file, ".gz") {
			if r, err = gzip.NewReader(f); err != nil {
				return nil, err
			}
		}
		return changelogDays(io.LimitReader(r, maxChangelog))
	}
	return nil, nil
}

// changelogDays reads the dates of the lines that end each entry, " -- Name <mail> date". Old entries may have invalid
// dates, which are skipped.
func changelogDays(r io.Reader) ([]int, error) {
	var days []int
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		trailer, ok := strings.CutPrefix(lines.Text(), " -- ")
		if !ok {
			continue
		}
		_, date, ok := strings.Cut(trailer, ">  ")
		if !ok {
			continue
		}
		if when, err := mail.ParseDate(strings.TrimSpace(date)); err == nil {
			days = append(days, dayOf(when))
		}
	}
	return days, lines.Err()
}

func dayOf(when time.Time) int { return int(math.Floor(float64(when.Unix()) / 86400)) }

// Newest returns the last day on which any of the sources changed.
func Newest(sources []Source) time.Time {
	last := 0
	for _, s := range sources {
		last = max(last, s.Days[len(s.Days)-1])
	}
	return time.Unix(int64(last)*86400, 0).UTC()
}

// DebianWorld replays the real changes of a number of updates, a number of days apart, up to a date. A tenth of the
// sources is missing at first. In each update one source is added and one removed, each with probability ½.
func DebianWorld(sources []Source, end time.Time, every, updates int, seed uint64) *World {
	r := rand.New(rand.NewPCG(seed, uint64(every)))
	last := dayOf(end)
	at := func(day int) []Package {
		packages := make([]Package, len(sources))
		for i, s := range sources {
			packages[i] = s.on(day)
		}
		return packages
	}
	turnover := newTurnover(r, at(last))
	world := &World{
		Name: fmt.Sprintf("Debian, %d sources, every %d days up to %s", len(sources), every, end.Format(time.DateOnly)),
		Days: every,
	}
	for i := updates; i >= 0; i-- {
		world.Images = append(world.Images, turnover.image(at(last-i*every)))
		turnover.step()
	}
	return world
}

// on returns the package as built with the last entry up to a day, and what was known about it then.
func (s *Source) on(day int) Package {
	version, found := slices.BinarySearch(s.Days, day)
	if found {
		version++
	}
	p := Package{Name: s.Name, Size: s.Size, Version: version}
	for _, d := range slices.Backward(s.Days[:version]) {
		p.Rates.Days = append(p.Rates.Days, day-d)
	}
	year, _ := slices.BinarySearch(p.Rates.Days, 366)
	p.Rates.Frequency = uint32(year)
	p.Rates.Stability = stability(p.Rates.Days[:year])
	return p
}

// stability is chunkah's estimate, from the days of a year with an entry over the span since the first of them.
func stability(days []int) float64 {
	if len(days) == 0 {
		return 0.99
	}
	span := days[len(days)-1]
	if span < 1 {
		return 0
	}
	return math.Exp(-7 * float64(len(days)) / float64(span))
}
