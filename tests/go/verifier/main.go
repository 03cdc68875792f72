// An independent verifier of a log that kubewitness keeps: written against C2SP tlog-tiles, tlog-checkpoint and
// signed-note, with the code of Go's own checksum database. It shares nothing with the program under test.
//
//	verifier -keys FILE [-remembered NOTE] LOG
//
// LOG holds tiles/ and heads/. It ends with 0 only if every head is signed by a known key, every tile and every entry
// lies under the head that is shown, and every other head, also a remembered one, is an earlier state of it.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	entryBytes = 33
)

type head struct {
	origin string
	tree   tlog.Tree
}

func main() {
	keys := flag.String("keys", "", "file of verifier keys, a line each")
	remembered := flag.String("remembered", "", "signed checkpoint that was seen before")
	flag.Parse()
	if flag.NArg() != 1 || *keys == "" {
		flag.Usage()
		os.Exit(2)
	}
	size, heads, err := verify(flag.Arg(0), *keys, *remembered)
	if err != nil {
		fmt.Println("REJECTED:", err)
		os.Exit(1)
	}
	fmt.Printf("accepted: %d entries, %d heads\n", size, heads)
}

func verify(log, keyFile, remembered string) (int64, int, error) {
	known, err := readKeys(keyFile)
	if err != nil {
		return 0, 0, err
	}
	shown, err := readHead(filepath.Join(log, "tiles", "checkpoint"), known)
	if err != nil {
		return 0, 0, err
	}
	if shown.tree.N == 0 {
		return 0, 0, errors.New("the log is empty: there is nothing to check")
	}
	grown, err := grow(log, shown.tree)
	if err != nil {
		return 0, 0, err
	}
	if err := checkTiles(log, shown.tree, grown); err != nil {
		return 0, 0, err
	}
	if err := checkInclusion(shown.tree, grown); err != nil {
		return 0, 0, err
	}
	heads, err := readHeads(log, known)
	if err != nil {
		return 0, 0, err
	}
	if last := heads[len(heads)-1]; last != shown {
		return 0, 0, fmt.Errorf("heads/%d is the last head, and one of %d is shown", last.tree.N, shown.tree.N)
	}
	if remembered != "" {
		old, err := readHead(remembered, known)
		if err != nil {
			return 0, 0, err
		}
		heads = append(heads, old)
	}
	for _, old := range heads {
		if old.origin != shown.origin {
			return 0, 0, fmt.Errorf("a head of %q beside one of %q", old.origin, shown.origin)
		}
		if err := checkConsistency(old.tree, shown.tree, grown); err != nil {
			return 0, 0, err
		}
	}
	return shown.tree.N, len(heads), nil
}

func readKeys(name string) (note.Verifiers, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var list []note.Verifier
	for _, line := range strings.Fields(string(data)) {
		verifier, err := note.NewVerifier(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, verifier)
	}
	return note.VerifierList(list...), nil
}

// readHead opens a note and reads its text as a checkpoint without extension lines.
func readHead(name string, known note.Verifiers) (head, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return head{}, err
	}
	opened, err := note.Open(data, known)
	if err != nil {
		return head{}, fmt.Errorf("%s: %w", name, err)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] == "" || lines[3] != "" {
		return head{}, fmt.Errorf("%s: not a checkpoint", name)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return head{}, fmt.Errorf("%s: not a size: %q", name, lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return head{}, fmt.Errorf("%s: not a root: %q", name, lines[2])
	}
	if opened.Sigs[0].Name != lines[0] {
		return head{}, fmt.Errorf("%s: a head of %q, signed by %q", name, lines[0], opened.Sigs[0].Name)
	}
	return head{lines[0], tlog.Tree{N: size, Hash: tlog.Hash(root)}}, nil
}

func readHeads(log string, known note.Verifiers) ([]head, error) {
	entries, err := os.ReadDir(filepath.Join(log, "heads"))
	if err != nil {
		return nil, err
	}
	var heads []head
	for _, entry := range entries {
		size, err := strconv.ParseInt(entry.Name(), 10, 64)
		if err != nil {
			continue
		}
		found, err := readHead(filepath.Join(log, "heads", entry.Name()), known)
		if err != nil {
			return nil, err
		}
		if found.tree.N != size {
			return nil, fmt.Errorf("heads/%d is a head of %d", size, found.tree.N)
		}
		heads = append(heads, found)
	}
	if len(heads) == 0 {
		return nil, errors.New("heads/ is empty")
	}
	sort.Slice(heads, func(i, j int) bool { return heads[i].tree.N < heads[j].tree.N })
	return heads, nil
}

// checkConsistency proves that one tree is an earlier state of another.
func checkConsistency(old, now tlog.Tree, reader tlog.HashReader) error {
	if old.N > now.N {
		return fmt.Errorf("a head of %d was signed, the one that is shown is of %d", old.N, now.N)
	}
	if old.N == 0 {
		return nil
	}
	proof, err := tlog.ProveTree(now.N, old.N, reader)
	if err != nil {
		return fmt.Errorf("from %d to %d: %w", old.N, now.N, err)
	}
	if err := tlog.CheckTree(proof, now.N, now.Hash, old.N, old.Hash); err != nil {
		return fmt.Errorf("from %d to %d: %w", old.N, now.N, err)
	}
	return nil
}

// stored is a tree in memory, made of nothing but the entries.
type stored struct {
	hashes  []tlog.Hash
	records []tlog.Hash
}

func (s *stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, index := range indexes {
		if index >= int64(len(s.hashes)) {
			return nil, fmt.Errorf("no hash %d", index)
		}
		found = append(found, s.hashes[index])
	}
	return found, nil
}

// grow makes the tree of the entries in the bundles, which must have the root that was signed.
func grow(log string, tree tlog.Tree) (*stored, error) {
	grown := &stored{}
	for first := int64(0); first < tree.N; first += tileWidth {
		width := min(tree.N-first, int64(tileWidth))
		data, err := readTile(log, "entries", first/tileWidth, int(width), 2+entryBytes)
		if err != nil {
			return nil, err
		}
		for n := first; n < first+width; n++ {
			if binary.BigEndian.Uint16(data) != entryBytes || data[2] != 1 {
				return nil, fmt.Errorf("entry %d is no leaf of 33 bytes and version 1", n)
			}
			record := tlog.RecordHash(data[2 : 2+entryBytes])
			data = data[2+entryBytes:]
			hashes, err := tlog.StoredHashesForRecordHash(n, record, grown)
			if err != nil {
				return nil, err
			}
			grown.hashes = append(grown.hashes, hashes...)
			grown.records = append(grown.records, record)
		}
	}
	root, err := tlog.TreeHash(tree.N, grown)
	if err != nil {
		return nil, err
	}
	if root != tree.Hash {
		return nil, fmt.Errorf("the entries lead to %v, the head says %v", root, tree.Hash)
	}
	return grown, nil
}

// checkTiles compares every tile of the tree with what the entries lead to. (TileHashReader of x/mod 0.7 would not do:
// it leaves some tiles unchecked when two subtrees of the root lie in one tile.)
func checkTiles(log string, tree tlog.Tree, grown *stored) error {
	for level := 0; tree.N>>(level*tileHeight) > 0; level++ {
		count := tree.N >> (level * tileHeight)
		for number := int64(0); number*tileWidth < count; number++ {
			width := int(min(count-number*tileWidth, int64(tileWidth)))
			ought, err := tlog.ReadTileData(tlog.Tile{H: tileHeight, L: level, N: number, W: width}, grown)
			if err != nil {
				return err
			}
			found, err := readTile(log, strconv.Itoa(level), number, width, tlog.HashSize)
			if err != nil {
				return err
			}
			if !bytes.Equal(found, ought) {
				return fmt.Errorf("%s holds other hashes", tileFile(strconv.Itoa(level), number, width))
			}
		}
	}
	return nil
}

// checkInclusion proves of every entry that it is under the root.
func checkInclusion(tree tlog.Tree, grown *stored) error {
	for n, record := range grown.records {
		proof, err := tlog.ProveRecord(tree.N, int64(n), grown)
		if err != nil {
			return fmt.Errorf("entry %d: %w", n, err)
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(n), record); err != nil {
			return fmt.Errorf("entry %d: %w", n, err)
		}
	}
	return nil
}

// tileFile names a tile as tlog-tiles does, which is not as the checksum database does.
func tileFile(level string, number int64, width int) string {
	name := fmt.Sprintf("%03d", number%1000)
	for number >= 1000 {
		number /= 1000
		name = fmt.Sprintf("x%03d/%s", number%1000, name)
	}
	if width < tileWidth {
		name += fmt.Sprintf(".p/%d", width)
	}
	return "tile/" + level + "/" + name
}

// readTile reads a tile or bundle; where a partial one is gone, the beginning of the full one serves.
func readTile(log, level string, number int64, width, size int) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(log, "tiles", tileFile(level, number, width)))
	whole := width
	if errors.Is(err, os.ErrNotExist) && width < tileWidth {
		data, err = os.ReadFile(filepath.Join(log, "tiles", tileFile(level, number, tileWidth)))
		whole = tileWidth
	}
	if err != nil {
		return nil, err
	}
	if len(data) != whole*size {
		return nil, fmt.Errorf("%s has %d bytes, not %d", tileFile(level, number, whole), len(data), whole*size)
	}
	return data[:width*size], nil
}
