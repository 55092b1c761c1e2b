import KnapJSON
import Testing

@testable import KnapHost

@Suite("The planner")
struct PlannerTests {
    @Test("starts what is required first, and side by side what does not depend on each other")
    func waves() throws {
        let plan = Planner.plan(
            PlanInput([
                try plugin("gateway", needs: ["vault ^1", "events"]), try plugin("obsidian", offers: ["vault 1.2.0"]),
                try plugin("events", offers: ["events 1.0.0"]),
                try plugin("agents", needs: ["gateway"], uses: ["vault"]),
                try plugin("web", needs: ["events"], offers: ["gateway 1.0.0"]),
            ]))
        #expect(plan.startNames == [["events", "obsidian"], ["gateway", "web"], ["agents"]])
        #expect(plan.omissions == [])
        #expect(plan.providers == ["vault": "obsidian", "events": "events", "gateway": "web"])
    }

    @Test("stops in the reverse order")
    func stops() throws {
        let all = [
            try plugin("a", offers: ["x 1.0.0"]), try plugin("b", needs: ["x"], offers: ["y 1.0.0"]),
            try plugin("c", needs: ["y"]),
        ]
        let plan = Planner.plan(PlanInput(all, running: all, wanted: .only([])))
        #expect(plan.stopNames == [["c"], ["b"], ["a"]])
        #expect(plan.starts == [] && plan.kept == [])
    }

    @Test("does nothing when all that is wanted runs")
    func nothing() throws {
        let all = [try plugin("a", offers: ["x 1.0.0"]), try plugin("b", needs: ["x"])]
        let plan = Planner.plan(PlanInput(all, running: all))
        #expect(plan.isEmpty && plan.kept == ["a", "b"])
        #expect(plan.text == "Nothing is to be done.\nkeep   a, b\n")
    }

    @Test("replaces a plugin whose content or isolation changed, and stops one that was removed")
    func replace() throws {
        let old = [try plugin("a", "1.0.0"), try plugin("b"), try plugin("c")]
        let moved = try plugin("c") { $0.isolation = .inProcess }
        let plan = Planner.plan(PlanInput([try plugin("a", "1.1.0"), moved], running: old))
        #expect(
            plan.starts.flatMap { $0 }.map(\.action) == [
                .replace(old: Version(1, 0, 0)), .replace(old: Version(1, 0, 0)),
            ])
        #expect(plan.stops.flatMap { $0 }.map(\.action) == [.stop(reason: "it was removed")])
    }

    @Test("holds back an upgrade that would stop a running plugin, and upgrades both when both are there")
    func heldBackUpgrade() throws {
        let base = try plugin("base", "1.0.0", offers: ["x 1.0.0"]), top = try plugin("top", "1.0.0", needs: ["x ^1"], offers: ["y 1.0.0"])
        let above = try plugin("above", needs: ["y"])
        let running = [base, top, above]
        let newBase = try plugin("base", "2.0.0", offers: ["x 2.0.0"])
        let alone = Planner.plan(PlanInput([newBase, top, above], running: running))
        #expect(alone.isEmpty && alone.kept == ["above", "base", "top"])
        let omission = try #require(alone.omission("base"))
        #expect(omission.code == .heldBack && omission.stillRunning == Version(1, 0, 0))
        #expect(omission.message.contains("top, which runs, requires 'x ^1'"), "\(omission.message)")
        let newTop = try plugin("top", "2.0.0", needs: ["x ^2"], offers: ["y 1.1.0"])
        let both = Planner.plan(PlanInput([newBase, newTop, above], running: running))
        #expect(both.startNames == [["base"], ["top"]] && both.stops == [] && both.omissions == [])
        // One that was removed or switched off holds nobody back.
        let gone = Planner.plan(PlanInput([newBase], running: [base, top]))
        #expect(gone.startNames == [["base"]] && gone.stopNames == [["top"]])
        let disabled = try plugin("top", "1.0.0", needs: ["x ^1"], offers: ["y 1.0.0"]) { $0.isEnabled = false }
        #expect(Planner.plan(PlanInput([newBase, disabled], running: [base, top])).startNames == [["base"]])
    }

    @Test("starts what ran before where the newest content cannot run")
    func fallbacks() throws {
        let old = try plugin("a", "1.0.0", offers: ["x 1.0.0"])
        let new = try plugin("a", "2.0.0", needs: ["nowhere"], offers: ["x 1.0.0"]) {
            $0.fallbacks = [Fallback(manifest: old.manifest, identity: old.identity)]
        }
        let plan = Planner.plan(PlanInput([new, try plugin("b", needs: ["x"])]))
        #expect(plan.startNames == [["a"], ["b"]])
        #expect(plan.starts.first?.first?.identity == old.identity)
        #expect(plan.omission("a")?.code == .missingDependency)
        // What waits for grants falls back too; what is disabled does not.
        let waiting = try plugin("a", "2.0.0") {
            $0.missingGrants = ["connect to x:1"]
            $0.fallbacks = new.fallbacks
        }
        #expect(Planner.plan(PlanInput([waiting])).starts.first?.first?.identity == old.identity)
        let disabled = try plugin("a", "2.0.0") {
            $0.isEnabled = false
            $0.fallbacks = new.fallbacks
        }
        #expect(Planner.plan(PlanInput([disabled])).starts == [])
    }

    @Test("starts only what is wanted and what that requires")
    func only() throws {
        let plan = Planner.plan(
            PlanInput(
                [
                    try plugin("a", needs: ["x"]), try plugin("b", offers: ["x 1.0.0"]), try plugin("c"),
                    try plugin("d", conflicts: ["b"]),
                ], wanted: .only(["a", "zed"])))
        #expect(plan.startNames == [["b"], ["a"]])
        #expect(plan.omission("c")?.code == .notWanted)
        #expect(plan.omission("d")?.code == .notWanted)
        #expect(plan.omission("zed")?.code == .unknownPlugin)
    }

    @Test("leaves out what misses a service, with everyone who needs it, and plans the rest")
    func missing() throws {
        let plan = Planner.plan(
            PlanInput([
                try plugin("gateway", needs: ["vault ^1"]),
                try plugin("obsidian", needs: ["index ^2"], offers: ["vault 1.0.0"]),
                try plugin("indexer", offers: ["indexes 2.0.0"]), try plugin("events"),
            ]))
        #expect(plan.startNames == [["events", "indexer"]])
        #expect(plan.omission("obsidian")?.code == .missingDependency)
        #expect(
            plan.omission("obsidian")?.message
                == "it requires 'index ^2', but no plugin provides 'index' (did you mean 'indexes'?); add one or disable this one"
        )
        #expect(plan.omission("gateway")?.code == .dependencyLeftOut)
        #expect(
            plan.omission("gateway")?.chain == [
                "gateway requires vault ^1 of obsidian", "obsidian requires index ^2",
                "no plugin provides 'index' (did you mean 'indexes'?)",
            ])
    }

    @Test("says which versions are there when none suits")
    func versionMismatch() throws {
        let plan = Planner.plan(
            PlanInput([try plugin("a", needs: ["x ^2"]), try plugin("b", "3.0.0", offers: ["x 1.4.0"])]))
        #expect(plan.omission("a")?.code == .versionMismatch)
        #expect(plan.omission("a")?.message == "it requires 'x ^2', but there is only x 1.4.0 of b (b.so)")
        #expect(plan.startNames == [["b"]])
    }

    @Test("names both chains when two plugins need different versions of one service")
    func versionConflict() throws {
        let plan = Planner.plan(
            PlanInput(
                [
                    try plugin("left", needs: ["middle"]), try plugin("mid", needs: ["x ^1"], offers: ["middle 1.0.0"]),
                    try plugin("right", needs: ["x ^2"]), try plugin("x1", offers: ["x 1.9.0"]),
                    try plugin("x2", offers: ["x 2.1.0"]),
                ], wanted: .only(["left", "right"])))
        let omission = try #require(plan.omission("mid"))
        #expect(omission.code == .versionConflict)
        #expect(omission.chain == ["left → mid requires x ^1", "right requires x ^2"])
        #expect(omission.message.contains("there are 1.9.0 of x1 (x1.so), 2.1.0 of x2 (x2.so)"))
        #expect(plan.omission("left")?.code == .dependencyLeftOut)
        #expect(plan.startNames == [["x2"], ["right"]])
    }

    @Test("shows the whole way round a cycle and leaves out those on it and those who need them")
    func cycle() throws {
        let plan = Planner.plan(
            PlanInput([
                try plugin("a", needs: ["y"], offers: ["x 1.0.0"]), try plugin("b", needs: ["z"], offers: ["y 1.0.0"]),
                try plugin("c", needs: ["x"], offers: ["z 1.0.0"]), try plugin("d", needs: ["x"]), try plugin("e"),
            ]))
        let chain = ["a requires y of b", "b requires z of c", "c requires x of a"]
        for name in ["a", "b", "c"] {
            #expect(plan.omission(name)?.code == .cycle)
            #expect(plan.omission(name)?.chain == chain)
        }
        #expect(plan.omission("d")?.chain == ["d requires x * of a"] + chain)
        #expect(plan.startNames == [["e"]])
    }

    @Test("lets an optional dependency decide the order, unless it closes a circle")
    func optional() throws {
        let straight = Planner.plan(PlanInput([try plugin("a", uses: ["x ^1"]), try plugin("b", offers: ["x 1.0.0"])]))
        #expect(straight.startNames == [["b"], ["a"]])
        let absent = Planner.plan(PlanInput([try plugin("a", uses: ["x ^1"])]))
        #expect(absent.startNames == [["a"]] && absent.notes == [])
        let circle = Planner.plan(
            PlanInput([
                try plugin("a", uses: ["x"], offers: ["y 1.0.0"]), try plugin("b", needs: ["y"], offers: ["x 1.0.0"]),
            ]))
        #expect(circle.startNames == [["a"], ["b"]])
        #expect(circle.notes.count == 1)
        let old = Planner.plan(PlanInput([try plugin("a", uses: ["x ^2"]), try plugin("b", offers: ["x 1.0.0"])]))
        #expect(old.notes == ["a would use x ^2, but b provides 1.0.0"])
    }

    @Test("uses none of several plugins with one name, unless one runs already or came with Knap")
    func duplicateNames() throws {
        let one = try plugin("a", source: "one.so")
        let two = try plugin("a", source: "two.so")
        let neither = Planner.plan(PlanInput([one, two]))
        #expect(neither.isEmpty)
        #expect(neither.omissions.map(\.code) == [.duplicateName, .duplicateName])
        #expect(neither.omissions[0].message.hasPrefix("one.so and two.so are all named 'a'; none of them is used"))
        let running = Planner.plan(PlanInput([one, two], running: [two]))
        #expect(running.kept == ["a"])
        #expect(running.omissions.map(\.source) == ["one.so"])
        let ours = try plugin("a", source: "ours.so") { $0.isBuiltIn = true }
        #expect(Planner.plan(PlanInput([one, ours])).starts.first?.first?.source == "ours.so")
    }

    @Test("chooses one provider of a service: the preferred one, the one that suits most, the highest, ours, the first")
    func providers() throws {
        var input = PlanInput([try plugin("a", offers: ["x 1.0.0"]), try plugin("b", offers: ["x 1.1.0"])])
        #expect(Planner.plan(input).providers["x"] == "b")
        #expect(Planner.plan(input).omission("a")?.code == .serviceTaken)
        input.preferredProviders = ["x": "a"]
        #expect(Planner.plan(input).providers["x"] == "a")
        let needed = PlanInput([
            try plugin("a", offers: ["x 1.0.0"]), try plugin("b", offers: ["x 2.0.0"]),
            try plugin("c", needs: ["x ^1"]),
        ])
        #expect(Planner.plan(needed).providers["x"] == "a")
        let ours = PlanInput([
            try plugin("a", offers: ["x 1.0.0"]), try plugin("b", offers: ["x 1.0.0"]) { $0.isBuiltIn = true },
        ])
        #expect(Planner.plan(ours).providers["x"] == "b")
        let equal = PlanInput([try plugin("b", offers: ["x 1.0.0"]), try plugin("a", offers: ["x 1.0.0"])])
        #expect(Planner.plan(equal).providers["x"] == "a")
    }

    @Test("lets one provider of a service run, and besides it those that stand in for it")
    func standIns() throws {
        let main = try plugin("main", offers: ["x 1.2.0"])
        let spare = try plugin("spare", offers: ["x 1.0.0 fallback"])
        let other = try plugin("other", offers: ["x 1.9.0 fallback"])
        let user = try plugin("user", needs: ["x ^1"])
        let all = [main, spare, other, user]
        let plan = Planner.plan(PlanInput(all))
        #expect(plan.startNames == [["main", "other", "spare"], ["user"]])
        #expect(plan.providers == ["x": "main"] && plan.omissions == [] && plan.notes == [])
        // A second that wants to be the main one still has to go.
        let rival = Planner.plan(PlanInput(all + [try plugin("rival", offers: ["x 1.1.0"])]))
        #expect(rival.omissions.map(\.plugin) == ["rival"] && rival.providers["x"] == "main")
        // Without the main one they serve alone, and who requires the service stays.
        let without = Planner.plan(PlanInput([spare, other, user], running: all))
        #expect(without.stopNames == [["main"]] && without.kept == ["other", "spare", "user"])
        #expect(without.providers == ["x": "other"])
        // When it comes, it serves, and nobody is stopped.
        let back = Planner.plan(PlanInput(all, running: [spare, other, user]))
        #expect(back.startNames == [["main"]] && back.stops == [] && back.providers["x"] == "main")
        // At the end they go after those who use them.
        let end = Planner.plan(PlanInput(all, running: all, wanted: .only([])))
        #expect(end.stopNames == [["user"], ["main", "other", "spare"]])
    }

    @Test(
        "has somebody stand in for a main provider that cannot run",
        arguments: ["gone": Omission.Code.missingDependency, "y": .dependencyLeftOut])
    func standInForWhatCannotRun(need: String, code: Omission.Code) throws {
        let plan = Planner.plan(
            PlanInput([
                try plugin("main", needs: [need], offers: ["x 1.0.0"]), try plugin("spare", offers: ["x 1.0.0 fallback"]),
                try plugin("user", needs: ["x"]), try plugin("base", offers: ["y 1.0.0"]) { $0.isEnabled = false },
            ]))
        #expect(plan.startNames == [["spare"], ["user"]])
        #expect(plan.omission("main")?.code == code && plan.omission("user") == nil)
    }

    @Test("leaves out who offers to stand in for a version that it is not compatible with")
    func incompatibleStandIn() throws {
        let main = try plugin("main", offers: ["x 2.0.0"])
        let spare = try plugin("spare", offers: ["x 1.0.0 fallback"])
        let plan = Planner.plan(PlanInput([main, spare]))
        #expect(plan.startNames == [["main"]])
        #expect(
            plan.omission("spare")?.message
                == "'x' 1.0.0 is left to main 2.0.0 (main.so), and its own version cannot stand in for that one; "
                + "provide a compatible version, or disable one of them")
        let gone = Planner.plan(PlanInput([spare], running: [main]))
        #expect(gone.stopNames == [["main"]] && gone.startNames == [["spare"]])
    }

    @Test("starts those that stand in for a service that something wanted requires")
    func wantedStandIns() throws {
        let plan = Planner.plan(
            PlanInput(
                [
                    try plugin("main", offers: ["x 1.0.0"]), try plugin("spare", needs: ["y"], offers: ["x 1.0.0 fallback"]),
                    try plugin("base", offers: ["y 1.0.0"]), try plugin("user", needs: ["x"]),
                    try plugin("else", offers: ["z 1.0.0 fallback"]),
                ], wanted: .only(["user"])))
        #expect(plan.startNames == [["base", "main"], ["spare"], ["user"]])
        #expect(plan.omissions.map(\.plugin) == ["else"])
    }

    @Test("falls back on another provider when the first choice cannot run")
    func otherProvider() throws {
        let plan = Planner.plan(
            PlanInput([
                try plugin("a", offers: ["x 1.0.0"]), try plugin("b", needs: ["gone"], offers: ["x 2.0.0"]),
                try plugin("c", needs: ["x"]),
            ]))
        #expect(plan.startNames == [["a"], ["c"]])
        #expect(plan.omissions.map(\.plugin) == ["b"])
    }

    @Test("keeps of two that conflict the one that runs, ours, or the one that does not mind")
    func conflicts() throws {
        let a = try plugin("a", conflicts: ["b"])
        let b = try plugin("b")
        let plan = Planner.plan(PlanInput([a, b]))
        #expect(plan.startNames == [["b"]])
        #expect(
            plan.omission("a")?.message == "it conflicts with 'b' (b.so), which comes first; disable one of the two")
        #expect(Planner.plan(PlanInput([a, b], running: [a])).kept == ["a"])
        let mutual = Planner.plan(PlanInput([a, try plugin("b", conflicts: ["a"])]))
        #expect(mutual.startNames == [["a"]])
    }

    @Test("waits for grants, and lets the running version serve until they come")
    func grants() throws {
        let old = try plugin("a", "1.0.0", offers: ["x 1.0.0"])
        let new = try plugin("a", "2.0.0", offers: ["x 1.1.0"]) {
            $0.missingGrants = ["network.connect api.example.org:443"]
        }
        let fresh = Planner.plan(PlanInput([new]))
        #expect(fresh.isEmpty)
        #expect(
            fresh.omission("a")?.message
                == "waiting for network.connect api.example.org:443; 'knap plugins grant a' allows it")
        let upgrade = Planner.plan(PlanInput([new, try plugin("b", needs: ["x"])], running: [old]))
        #expect(upgrade.kept == ["a"] && upgrade.startNames == [["b"]])
        #expect(upgrade.omission("a")?.stillRunning == Version(1, 0, 0))
        let revoked = try plugin("a", "1.0.0", offers: ["x 1.0.0"]) { $0.missingGrants = ["environment HOME"] }
        #expect(Planner.plan(PlanInput([revoked], running: [old])).stopNames == [["a"]])
    }

    @Test("keeps the running version when the new one cannot run for any other reason")
    func heldBack() throws {
        let old = try plugin("a", "1.0.0")
        let plan = Planner.plan(PlanInput([try plugin("a", "2.0.0", needs: ["gone"])], running: [old]))
        #expect(plan.isEmpty && plan.kept == ["a"])
        #expect(plan.omission("a")?.code == .missingDependency)
        #expect(plan.omission("a")?.stillRunning == Version(1, 0, 0))
    }

    @Test("leaves out what is disabled, in quarantine or cannot run where it should")
    func leftOut() throws {
        let plan = Planner.plan(
            PlanInput([
                try plugin("a") { $0.isEnabled = false }, try plugin("b") { $0.quarantine = "crashed 6 times" },
                try plugin("c") { $0.manifest.isolations = [.inProcess] }, try plugin("d", needs: ["x"]),
                try plugin("e", offers: ["x 1.0.0"]) { $0.isEnabled = false },
            ]))
        #expect(plan.isEmpty)
        #expect(
            plan.omissions.map(\.code) == [
                .disabled, .quarantined, .isolationUnsupported, .dependencyLeftOut, .disabled,
            ])
        #expect(plan.problems.map(\.plugin) == ["b", "c", "d"])
        #expect(
            plan.omission("d")?.chain == [
                "d requires x * of e", "e: it is disabled; 'knap plugins enable e' lets it start",
            ])
    }

    @Test("prints itself for people and for programs")
    func rendering() throws {
        let plan = Planner.plan(
            PlanInput(
                [
                    try plugin("a", "1.1.0", offers: ["x 1.0.0"]), try plugin("b", needs: ["x"]),
                    try plugin("c", needs: ["y"]),
                    try plugin("d") { $0.isEnabled = false },
                ], running: [try plugin("a"), try plugin("old")]))
        #expect(
            plan.text == """
                stop 1  old 1.0.0: it was removed
                start 1  a 1.0.0 → 1.1.0 (worker)
                start 2  b 1.0.0 (worker)

                left out:
                  c 1.0.0 (c.so): it requires 'y *', but no plugin provides 'y' (did you mean 'x'?); add one or disable this one

                not running by choice:
                  d 1.0.0 (d.so): it is disabled; 'knap plugins enable d' lets it start

                """)
        #expect(plan.json["starts"]?[0]?[0]?["action"] == "replace")
        #expect(plan.json["starts"]?[0]?[0]?["old_version"] == "1.0.0")
        #expect(plan.json["omissions"]?[0]?["code"] == "missingDependency")
        #expect(plan.json["providers"] == ["x": "a"])
    }
}
