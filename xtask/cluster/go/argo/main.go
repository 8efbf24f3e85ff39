// Reads one Kubernetes object as JSON from stdin and prints what Argo CD makes of it, given the Lua script of its kind:
// Healthy, Progressing, Degraded, Suspended, …
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/argoproj/gitops-engine/pkg/health"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
)

// script is a health check, as it stands in Argo CD's configuration.
type script string

// GetResourceHealth runs it as Argo CD does: the object is the global obj, and a table with status and message comes back.
func (s script) GetResourceHealth(object *unstructured.Unstructured) (*health.HealthStatus, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName:   lua.OpenBase,
		lua.TabLibName:    lua.OpenTable,
		lua.StringLibName: lua.OpenString,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), NRet: 0, Protect: true}, lua.LString(name)); err != nil {
			return nil, err
		}
	}
	// By way of its text: the reader of tables knows one kind of numbers only.
	text, err := object.MarshalJSON()
	if err != nil {
		return nil, err
	}
	table, err := luajson.Decode(state, text)
	if err != nil {
		return nil, err
	}
	state.SetGlobal("obj", table)
	if err := state.DoString(string(s)); err != nil {
		return nil, err
	}
	said, err := luajson.Encode(state.Get(-1))
	if err != nil {
		return nil, err
	}
	var result health.HealthStatus
	return &result, json.Unmarshal(said, &result)
}

func main() {
	if len(os.Args) != 2 {
		fail(2, "expected the file of a Lua script as the only argument")
	}
	check, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(2, err)
	}
	object := &unstructured.Unstructured{}
	input, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = object.UnmarshalJSON(input)
	}
	if err != nil {
		fail(2, "expected an object as JSON on stdin:", err)
	}
	result, err := health.GetResourceHealth(object, script(check))
	if err != nil {
		fail(1, err)
	}
	fmt.Println(result.Status, result.Message)
}

func fail(code int, words ...any) {
	fmt.Fprintln(os.Stderr, words...)
	os.Exit(code)
}
