"""Compiles the C fixtures into plugins with a manifest, and drops them into a host's directory."""

import json
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = ROOT / "Tests/Fixtures/Plugins/C"


def methods_of(source):
    """The names in the table `METHODS(X)` that ends a fixture."""
    text = (SOURCES / source).read_text()
    table = re.search(r"#define METHODS\(X\)((?:.*\\\n)*.*)", text).group(1)
    return re.findall(r"X\((\w+)", table)


# Those that need a thread of their own, because they block; the others run where calls are taken.
BLOCKING = {"patient", "slow", "nap", "hang", "wait"}
IDEMPOTENT = {"echo", "version", "pid", "who", "fail", "flaky"}


def build(folder, name="faults", version="1.0.0", defines=(), source="faults.c", deadline_ms=1500, idempotent=IDEMPOTENT,
          options=(), service=None, fallback=False, methods={}, **manifest):
    """Compiles a source as `name`; returns the library's path. `methods` replaces fields of some, `manifest` its own."""
    service = service or f"test.{name}"
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"{name}.so"
    part = folder / f".{name}.part"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-fvisibility=hidden", "-O1", "-w", "-D_GNU_SOURCE", f"-I{ROOT}/PluginAPI/C/include",
         f'-DNAME="{name}"', f'-DVERSION="{version}"', f'-DSERVICE="{service}"', *[f"-D{each}" for each in defines], str(SOURCES / source),
         "-pthread", *options, "-o", str(part)], check=True)
    described = [
        {"name": each, "blocking": each in BLOCKING, "idempotent": each in idempotent, "deadline_ms": deadline_ms,
         **methods.get(each, {})}
        for each in methods_of(source)
    ]
    description = {
        "manifest": 1, "name": name, "version": version, "abi": "draft",
        "extensions": ["knap.state/1"] if source == "faults.c" else [],
        "provides": [{"service": service, "version": version, "fallback": fallback, "methods": described}],
        "hooks": {"prepare_timeout_ms": 2000, "activate_timeout_ms": 2000, "suspend_timeout_ms": 2000},
        "restart": {"max_restarts": 1000, "period_ms": 3600000, "backoff_initial_ms": 1, "backoff_max_ms": 5},
        **manifest,
    }
    embed(part, description)
    os.rename(part, library)
    return library


FOUNDATION = """
import Foundation
public func moment() -> String { Date().formatted(.iso8601) }
"""


def build_swift(folder, name, version="1.0.0", embedded=True, foundation=False, **manifest):
    """Compiles the plugin in Swift, as Embedded Swift or with Swift's runtime, and Foundation; returns the library's path."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    library, part, names = folder / f"{name}.so", folder / f".{name}.part", folder / "names.swift"
    service = f"test.{name}"
    names.write_text("".join(f"let {key}: StaticString = {json.dumps(value)}\n" for key, value in {
        "name": name, "plainVersion": version, "version": f'"{version}"', "versionMethod": f"{service}.version",
        "addMethod": f"{service}.add"}.items()) + (FOUNDATION if foundation else ""))
    options = ["-enable-experimental-feature", "Embedded"] if embedded else ["-Xlinker", "-z", "-Xlinker", "nodelete"]
    subprocess.run(
        ["swiftc", "-parse-as-library", "-wmo", "-O", "-target", "x86_64-unknown-linux-gnu", *options, "-emit-library",
         "-module-name", name.replace("-", "_"), str(SOURCES.parent / "EmbeddedSwift/plugin.swift"), str(names),
         f"-I{ROOT}/PluginAPI/C/include", "-Xlinker", f"--version-script={ROOT}/PluginAPI/C/exports.map", "-Xlinker", "-Bsymbolic",
         "-o", str(part)], check=True)
    methods = [{"name": each, "blocking": False, "idempotent": each == "version", "deadline_ms": 1500} for each in ("version", "add")]
    embed(part, {
        "manifest": 1, "name": name, "version": version, "abi": "draft",
        "provides": [{"service": service, "version": version, "methods": methods}], **manifest})
    os.rename(part, library)
    return library


def embed(library, manifest):
    path = pathlib.Path(f"{library}.json")
    path.write_text(json.dumps(manifest))
    subprocess.run(
        ["objcopy", "--add-section", f".knap={path}", "--set-section-flags", ".knap=contents,readonly", str(library)],
        check=True)
    path.unlink()


def drop(place, library):
    """Copies a library into the drop directory as `cp` does."""
    target = place.state / "plugins" / library.name
    target.write_bytes(library.read_bytes())
    return target
