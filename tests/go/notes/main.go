// Opens signed notes with the code of Go's checksum database, one after the other.
//
//	notes KEYS < notes
//
// Each note on standard input follows its length in four bytes, big-endian. For each there is a line on standard output:
// "accepted" and the SHA-256 of its text, or "rejected" and why.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

func main() {
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var list []note.Verifier
	for _, line := range strings.Fields(string(data)) {
		verifier, err := note.NewVerifier(line)
		if err != nil {
			panic(err)
		}
		list = append(list, verifier)
	}
	known := note.VerifierList(list...)
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		var length uint32
		if err := binary.Read(in, binary.BigEndian, &length); err == io.EOF {
			return
		} else if err != nil {
			panic(err)
		}
		message := make([]byte, length)
		if _, err := io.ReadFull(in, message); err != nil {
			panic(err)
		}
		opened, err := note.Open(message, known)
		if err != nil {
			fmt.Fprintf(out, "rejected %q\n", err)
		} else {
			fmt.Fprintf(out, "accepted %x\n", sha256.Sum256([]byte(opened.Text)))
		}
	}
}
