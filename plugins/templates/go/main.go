// my-plugin saves a small state when the instance goes, and votes whether it is idle.
//
// Replace state with what you have to save, and checkIdle with what you know of being idle.
// stdout belongs to the protocol; log to stderr.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// A save takes so many seconds at most: with less time it is not begun.
const saveSeconds = 1.0

var events = []string{
	"cloud.spot.interrupt", "cloud.instance.termination", "cloud.autoscaling.scale",
}

// What can be set. The daemon checks a configuration against it before the plugin gets it.
var schema = map[string]any{
	"path": map[string]any{
		"type":        "string",
		"description": "the file that the state is saved in",
		"default":     defaults.Path,
	},
	"cpu_threshold": map[string]any{
		"type":        "number",
		"description": "idle below so many percent of CPU",
		"default":     defaults.CPUThreshold,
		"constraints": map[string]any{"min": 0, "max": 100},
	},
	"dry_run": map[string]any{
		"type":        "boolean",
		"description": "say what would be done, and do nothing",
		"default":     defaults.DryRun,
	},
}

type config struct {
	Path         string
	CPUThreshold float64
	DryRun       bool
}

var defaults = config{Path: "/var/tmp/my-plugin.json", CPUThreshold: 5}

type plugin struct {
	config config
}

type event struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data struct {
		Incident      *string  `json:"incident"`
		TimeRemaining *float64 `json:"timeRemaining"`
		Drill         bool     `json:"drill"`
	} `json:"data"`
}

type params struct {
	Config  map[string]json.RawMessage `json:"config"`
	Metrics struct {
		CPUUsage *float64 `json:"cpu_usage"`
	} `json:"metrics"`
	Event event `json:"event"`
}

type object map[string]any

func info() object {
	return object{
		"name":          "my-plugin",
		"display_name":  "my-plugin",
		"version":       "0.1.0",
		"author":        "",
		"description":   "Saves a small state when the instance goes",
		"category":      "cloud-event",
		"tags":          []string{},
		"language":      "go",
		"config_schema": schema,
		"protocol":      object{"min": 1, "max": 1},
	}
}

// configure takes all of a configuration or nothing of it; it names what is wrong, and shows no
// value.
func (p *plugin) configure(given map[string]json.RawMessage) object {
	next, faults := defaults, []string{}
	expect := func(name, expected string, isRight bool) {
		if !isRight {
			faults = append(faults, fmt.Sprintf("`%s`: expected %s", name, expected))
		}
	}
	for name, raw := range given {
		if string(raw) == "null" {
			continue
		}
		switch name {
		case "path":
			err := json.Unmarshal(raw, &next.Path)
			expect(name, "an absolute path", err == nil && filepath.IsAbs(next.Path))
		case "cpu_threshold":
			err := json.Unmarshal(raw, &next.CPUThreshold)
			inside := next.CPUThreshold >= 0 && next.CPUThreshold <= 100
			expect(name, "a number from 0 to 100", err == nil && inside)
		case "dry_run":
			expect(name, "`true` or `false`", json.Unmarshal(raw, &next.DryRun) == nil)
		default:
			faults = append(faults, fmt.Sprintf("`%s` is no setting of this plugin", name))
		}
	}
	if len(faults) > 0 {
		sort.Strings(faults)
		return object{"error": strings.Join(faults, "; ")}
	}
	p.config = next
	return object{"success": true}
}

func (p *plugin) health() object {
	folder := filepath.Dir(p.config.Path)
	probe, err := os.CreateTemp(folder, ".my-plugin-")
	if err != nil {
		reason := fmt.Sprintf("cannot write into %s: set `path` elsewhere", folder)
		return object{"healthy": false, "reason": reason}
	}
	probe.Close()
	os.Remove(probe.Name())
	return object{"healthy": true}
}

func (p *plugin) checkIdle(cpu *float64) object {
	if cpu == nil {
		return object{"error": "the metrics have no cpu_usage"}
	}
	return object{
		"is_idle": *cpu < p.config.CPUThreshold,
		"reason":  fmt.Sprintf("CPU at %v %% (threshold %v %%)", *cpu, p.config.CPUThreshold),
		"details": object{"cpu_usage": *cpu},
	}
}

func (p *plugin) handleEvent(e event) object {
	if !contains(events, e.Type) {
		return object{"handled": false}
	}
	if left := e.Data.TimeRemaining; left != nil && *left < saveSeconds {
		text := fmt.Sprintf("%v s are left, a save takes up to %v s", *left, saveSeconds)
		return object{"handled": false, "error": text}
	}
	path := p.config.Path
	if p.config.DryRun || e.Data.Drill {
		return object{"handled": true, "status": "would_save", "dry_run": true, "path": path}
	}
	begun := time.Now()
	text := append(state(e), '\n')
	if err := writeDurably(path, text); err != nil {
		return object{"handled": false, "error": fmt.Sprintf("cannot save %s: %v", path, err)}
	}
	read, err := os.ReadFile(path)
	return object{
		"handled":  true,
		"status":   "saved",
		"verified": err == nil && string(read) == string(text),
		"path":     path,
		"bytes":    len(text),
		"seconds":  time.Since(begun).Seconds(),
	}
}

// state is what is saved. The incident is the same however often one loss is signalled.
func state(e event) []byte {
	text, err := json.Marshal(object{"incident": e.Data.Incident, "event": e.ID, "type": e.Type})
	if err != nil {
		panic(err)
	}
	return text
}

// writeDurably writes all of the text or nothing of it: a new file, fsync, a new name, fsync of
// the folder.
func writeDurably(path string, text []byte) error {
	file, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = first(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return first(folder.Sync(), folder.Close())
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func contains(words []string, word string) bool {
	for _, other := range words {
		if other == word {
			return true
		}
	}
	return false
}

type request struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	ID     json.RawMessage `json:"id"`
}

// answer is the reply to one request line, and whether it was the last.
func (p *plugin) answer(line []byte) (reply object, last bool) {
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return object{"error": "the request is not a JSON object", "id": nil}, false
	}
	reply = object{"id": r.ID}
	// Whatever goes wrong ends one request, never the plugin.
	defer func() {
		if cause := recover(); cause != nil {
			log.Print(cause)
			reply, last = object{"error": "the plugin panicked; its log has the reason", "id": r.ID}, false
		}
	}()
	var given params
	if len(r.Params) > 0 {
		if err := json.Unmarshal(r.Params, &given); err != nil {
			reply["error"] = "the params cannot be used"
			return reply, false
		}
	}
	switch r.Method {
	case "Info":
		reply["result"] = info()
	case "Configure":
		reply["result"] = p.configure(given.Config)
	case "Initialize", "Shutdown":
		reply["result"] = object{"success": true}
	case "GetSupportedEvents":
		reply["result"] = events
	case "Health":
		reply["result"] = p.health()
	case "CheckIdle":
		reply["result"] = p.checkIdle(given.Metrics.CPUUsage)
	case "HandleEvent":
		reply["result"] = p.handleEvent(given.Event)
	default:
		reply["result"] = object{"error": "Unknown method: " + r.Method}
	}
	return reply, r.Method == "Shutdown"
}

// serve answers line by line until it is told to end, or the daemon is gone.
func (p *plugin) serve(requests io.Reader, replies io.Writer) error {
	lines, out := newLines(requests), json.NewEncoder(replies)
	for {
		line, err := lines.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		reply, last := p.answer(line)
		if err := out.Encode(reply); err != nil || last {
			return err
		}
	}
}

func main() {
	p := &plugin{config: defaults}
	if err := p.serve(os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}
