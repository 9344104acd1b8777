package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestItSavesTheStateAndReadsItBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	replies := drive(t, configured(object{"path": path}), handle("cloud.spot.interrupt", 110.5, false))
	if replies[0]["success"] != true || replies[1]["verified"] != true {
		t.Fatal(replies)
	}
	var saved object
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &saved) != nil || saved["incident"] != "i-1" {
		t.Fatalf("%v %s", err, text)
	}
}

func TestADrillAndADryRunSaveNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	replies := drive(t,
		configured(object{"path": path}), handle("cloud.spot.interrupt", 110.5, true),
		configured(object{"path": path, "dry_run": true}), handle("cloud.spot.interrupt", 110.5, false))
	if replies[1]["status"] != "would_save" || replies[3]["dry_run"] != true {
		t.Fatal(replies)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

func TestWhatCannotBeDoneIsSaid(t *testing.T) {
	replies := drive(t, configured(object{"path": "/no/such/folder/state.json"}), call("Health", nil),
		handle("cloud.spot.interrupt", 110.5, false), handle("cloud.spot.interrupt", 0.2, false))
	if replies[1]["healthy"] != false {
		t.Fatal(replies)
	}
	has(t, replies[2], "cannot save")
	has(t, replies[3], "0.2 s are left")
}

func TestAnotherEventIsNotItsBusiness(t *testing.T) {
	replies := drive(t, handle("system.disk.low", 110.5, false))
	if replies[0]["handled"] != false || replies[0]["error"] != nil {
		t.Fatal(replies)
	}
}

func TestItVotesByTheThreshold(t *testing.T) {
	replies := drive(t, configured(object{"cpu_threshold": 10}),
		call("CheckIdle", object{"metrics": object{"cpu_usage": 3}}),
		call("CheckIdle", object{"metrics": object{"cpu_usage": 30}}))
	if replies[1]["is_idle"] != true || replies[2]["is_idle"] != false {
		t.Fatal(replies)
	}
}

func TestEveryWrongSettingIsNamedAndNoValueIsShown(t *testing.T) {
	given := object{"path": "s3cret", "cpu_threshold": true, "dry_run": "s3cret", "pth": "s3cret"}
	reply := drive(t, configured(given))[0]
	for name := range given {
		has(t, reply, "`"+name+"`")
	}
	if strings.Contains(reply["error"].(string), "s3cret") {
		t.Fatal(reply)
	}
}

func TestALineThatIsNoRequestEndsNothing(t *testing.T) {
	replies := drive(t, "no json", "[]", call("Dance", nil), call("Info", nil))
	has(t, replies[0], "not a JSON object")
	has(t, replies[1], "not a JSON object")
	has(t, replies[2], "Unknown method: Dance")
	if replies[3]["name"] != "my-plugin" {
		t.Fatal(replies)
	}
}

func TestItEndsWhenItIsToldTo(t *testing.T) {
	if replies := drive(t, call("Shutdown", nil), call("Info", nil)); len(replies) != 1 {
		t.Fatal(replies)
	}
}

// drive gives a new plugin these request lines, one byte at a time, and returns what it answers.
func drive(t *testing.T, requests ...string) []object {
	t.Helper()
	p, replies := &plugin{config: defaults}, &strings.Builder{}
	stdin := iotest.OneByteReader(strings.NewReader(strings.Join(requests, "\n") + "\n"))
	if err := p.serve(stdin, replies); err != nil {
		t.Fatal(err)
	}
	var results []object
	decoder := json.NewDecoder(strings.NewReader(replies.String()))
	for {
		var reply struct {
			Result object
			Error  any
		}
		err := decoder.Decode(&reply)
		if err == io.EOF {
			return results
		}
		if err != nil {
			t.Fatal(err, replies)
		}
		if reply.Error != nil {
			reply.Result = object{"error": reply.Error}
		}
		results = append(results, reply.Result)
	}
}

func call(method string, params object) string {
	line, err := json.Marshal(object{"method": method, "params": params, "id": 1})
	if err != nil {
		panic(err)
	}
	return string(line)
}

func configured(config object) string {
	return call("Configure", object{"config": config})
}

func handle(kind string, left float64, drill bool) string {
	data := object{"timeRemaining": left, "drill": drill, "incident": "i-1"}
	return call("HandleEvent", object{"event": object{"type": kind, "id": "e-1", "data": data}})
}

func has(t *testing.T, reply object, part string) {
	t.Helper()
	if text, _ := reply["error"].(string); !strings.Contains(text, part) {
		t.Fatalf("%v has no %q", reply, part)
	}
}
