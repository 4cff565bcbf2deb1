package advice

import "github.com/ostree-ext/ostree-ext-go/encapsulate/advice/reason"

// The names of differences that are not of content.
const (
	ruleMetadata = "metadata"
	ruleOnlyOne  = "only-in-one"
)

// buildRules returns what only the comparison of two builds shows, besides the rules of a tree.
func buildRules() []Rule {
	return []Rule{
		{
			Name: reason.MemberTimes, Summary: "archives in which only the times of members differ", EachUpdate: true,
			End: "set SOURCE_DATE_EPOCH, or tar --mtime=@0, ar D, zip -X after touch -d @315532800",
		},
		{
			Name: reason.MemberInodes, Summary: "archives in which only inode numbers differ", EachUpdate: true,
			End: "cpio --reproducible",
		},
		{
			Name: reason.MemberOrder, Summary: "archives whose members come in another order", EachUpdate: true,
			End: "tar --sort=name, or sort the list of files: find . -print0 | LC_ALL=C sort -z | …",
		},
		{
			Name: reason.Members, Summary: "archives whose members differ", EachUpdate: true,
			End: "unpack both and compare the members that are named",
		},
		{
			Name: reason.Compression, Summary: "files with the same content, compressed in another way", EachUpdate: true,
			End: "compress with the same program, version, level and number of threads",
		},
		{
			Name: reason.SQLite, Summary: "databases in which only the counters of changes differ", EachUpdate: true,
			End: "make the database anew in the build, or do not write to it",
		},
		{
			Name: reason.LineOrder, Summary: "texts whose lines come in another order", EachUpdate: true,
			End: "sort them where they are made",
		},
		{
			Name: reason.Times, Summary: "files with a time of the build in their content", EachUpdate: true,
			End: "set SOURCE_DATE_EPOCH in the build, or leave the time out",
		},
		{
			Name: reason.Random, Summary: "files with a random name, UUID or hash in their content", EachUpdate: true,
			End: "make it when a host starts for the first time, or from the content",
		},
		{
			Name: ruleMetadata, Summary: "files whose owner, mode, type or attributes differ", EachUpdate: true,
			End: "set them in the build: chown, chmod, umask, setcap",
		},
		{
			Name: ruleOnlyOne, Summary: "files that only one of the builds has", EachUpdate: true,
			End: "find out which step makes them, and give them a fixed name or delete them",
		},
		{
			Name: reason.Content, Summary: "files whose content differs for a reason that was not found", EachUpdate: true,
			End: "compare both with diffoscope",
		},
	}
}
