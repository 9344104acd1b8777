package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// An event may be 1 MiB; its envelope is not counted there.
const longestLine = 1<<20 + 1<<16

// lines cuts a stream into lines that are not empty, however they come in.
type lines struct {
	scanner *bufio.Scanner
}

func newLines(stream io.Reader) lines {
	scanner := bufio.NewScanner(stream)
	scanner.Buffer(make([]byte, 0, 64*1024), longestLine)
	return lines{scanner}
}

// next is the next line, or io.EOF after the last.
func (l lines) next() ([]byte, error) {
	for l.scanner.Scan() {
		if line := bytes.TrimSpace(l.scanner.Bytes()); len(line) > 0 {
			return line, nil
		}
	}
	if err := l.scanner.Err(); err != nil {
		return nil, fmt.Errorf("cannot read a request: %w", err)
	}
	return nil, io.EOF
}
