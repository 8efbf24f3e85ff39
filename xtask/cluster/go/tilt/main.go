// Evaluates a Tiltfile with stand-ins for what Tilt brings, and prints every call that it makes, a JSON object a line: the
// function, its arguments by position and by name. The context is the second argument, flags of the Tiltfile follow.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	starjson "go.starlark.net/lib/json"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"
)

// What the file may call; anything else is an undefined name, as it would be in Tilt. With the names of their arguments.
var functions = map[string][]string{
	"allow_k8s_contexts": {"contexts"},
	"k8s_custom_deploy": {
		"name", "apply_cmd", "delete_cmd", "deps", "image_selector", "live_update", "apply_dir", "apply_env",
		"delete_dir", "delete_env", "container_selector", "image_deps",
	},
	"k8s_kind": {"kind", "api_version", "image_json_path", "image_object", "pod_readiness"},
	"k8s_resource": {
		"workload", "new_name", "port_forwards", "extra_pod_selectors", "trigger_mode", "resource_deps", "objects",
		"auto_init", "pod_readiness", "links", "labels", "discovery_strategy",
	},
	"k8s_yaml": {"yaml", "allow_duplicates"},
	"local_resource": {
		"name", "cmd", "deps", "trigger_mode", "resource_deps", "ignore", "auto_init", "serve_cmd", "labels",
		"allow_parallel", "links", "env", "dir", "readiness_probe",
	},
	"port_forward": {"local_port", "container_port", "name", "link_path", "host"},
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "expected a Tiltfile and a context, then --FLAG VALUE …")
		os.Exit(2)
	}
	given := map[string]string{}
	for at := 3; at+1 < len(os.Args); at += 2 {
		given[strings.TrimPrefix(os.Args[at], "--")] = os.Args[at+1]
	}
	known := starlark.StringDict{
		"TRIGGER_MODE_MANUAL": starlark.String("manual"),
		"TRIGGER_MODE_AUTO":   starlark.String("auto"),
		"config":              config(given),
		"k8s_context": starlark.NewBuiltin("k8s_context", func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
			return starlark.String(os.Args[2]), nil
		}),
	}
	for name, parameters := range functions {
		known[name] = recorder(name, parameters)
	}
	options := &syntax.FileOptions{TopLevelControl: true, GlobalReassign: true, Set: true}
	_, err := starlark.ExecFileOptions(options, &starlark.Thread{Name: "Tiltfile"}, os.Args[1], nil, known)
	if err != nil {
		if traced, ok := err.(*starlark.EvalError); ok {
			fmt.Fprintln(os.Stderr, traced.Backtrace())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// recorder prints its call.
func recorder(name string, parameters []string) starlark.Value {
	return starlark.NewBuiltin(name, func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, named []starlark.Tuple) (starlark.Value, error) {
		call := starlark.NewDict(len(parameters))
		if len(args) > len(parameters) {
			return nil, fmt.Errorf("%s takes %d arguments at most", name, len(parameters))
		}
		for at, value := range args {
			if err := call.SetKey(starlark.String(parameters[at]), value); err != nil {
				return nil, err
			}
		}
		for _, pair := range named {
			if !known(parameters, string(pair[0].(starlark.String))) {
				return nil, fmt.Errorf("%s has no argument %s", name, pair[0])
			}
			if err := call.SetKey(pair[0], pair[1]); err != nil {
				return nil, err
			}
		}
		text, err := starlark.Call(thread, starjson.Module.Members["encode"], starlark.Tuple{call}, nil)
		if err != nil {
			return nil, err
		}
		line, err := json.Marshal(map[string]any{"function": name, "arguments": json.RawMessage(text.(starlark.String))})
		fmt.Println(string(line))
		return starlark.String(name), err
	})
}

func known(parameters []string, name string) bool {
	for _, parameter := range parameters {
		if parameter == name {
			return true
		}
	}
	return false
}

// config hands out the flags that were defined and given.
func config(given map[string]string) starlark.Value {
	defined := map[string]bool{}
	define := starlark.NewBuiltin("define_string", func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, named []starlark.Tuple) (starlark.Value, error) {
		var name, usage string
		var asArgs bool
		err := starlark.UnpackArgs(b.Name(), args, named, "name", &name, "args?", &asArgs, "usage?", &usage)
		defined[name] = true
		return starlark.None, err
	})
	parse := starlark.NewBuiltin("parse", func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, named []starlark.Tuple) (starlark.Value, error) {
		values := starlark.NewDict(len(given))
		for name, value := range given {
			if !defined[name] {
				return nil, fmt.Errorf("no flag --%s is defined", name)
			}
			if err := values.SetKey(starlark.String(name), starlark.String(value)); err != nil {
				return nil, err
			}
		}
		return values, starlark.UnpackArgs(b.Name(), args, named)
	})
	return &starlarkstruct.Module{Name: "config", Members: starlark.StringDict{"define_string": define, "parse": parse}}
}
