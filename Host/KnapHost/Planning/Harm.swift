/// An upgrade that would stop a plugin that runs, or ran last, because its requirement does not allow the new version.
///
/// Who wants the new version upgrades both together; nothing that runs is stopped for a file that was dropped in.
struct Harm {
    let upgrade: Step
    let omission: Omission

    /// Nil when the plan does no harm.
    init?(of plan: Plan, _ input: PlanInput) {
        let starts = Dictionary(plan.starts.joined().map { ($0.plugin, $0) }) { first, _ in first }
        let former = Dictionary(input.candidates.compactMap(input.former).map { ($0.manifest.name, $0) }) { first, _ in first }
        for lost in plan.omissions where [.versionMismatch, .versionConflict].contains(lost.code) {
            guard let dependant = input.served(lost.plugin) else { continue }
            for requirement in dependant.requires {
                for provider in former.values.sorted(by: { $0.manifest.name < $1.manifest.name }) {
                    guard let step = starts[provider.manifest.name], Self.suits(provider.manifest, requirement),
                        let new = input.candidates.first(where: { $0.identity == step.identity })?.manifest,
                        !Self.suits(new, requirement)
                    else { continue }
                    upgrade = step
                    omission = Omission(
                        plugin: step.plugin, version: step.version, source: step.source, code: .heldBack,
                        message:
                            "version \(step.version) waits: \(dependant.name), which runs, requires '\(requirement)', and would stop; "
                            + "upgrade both together with 'knap plugins upgrade DIR', or remove \(dependant.name)",
                        chain: ["\(dependant.name) requires \(requirement)"], stillRunning: provider.manifest.version)
                    return
                }
            }
        }
        return nil
    }

    private static func suits(_ manifest: Manifest, _ requirement: Requirement) -> Bool {
        manifest.provides(requirement.service).map { requirement.versions.contains($0.version) } ?? false
    }
}

extension PlanInput {
    /// What an upgrade would replace: what runs, or ran last.
    fileprivate func former(_ candidate: Candidate) -> Candidate? {
        let name = candidate.manifest.name
        if let running = running.first(where: { $0.manifest.name == name }) {
            var former = Candidate(manifest: running.manifest, source: running.source, identity: running.identity)
            former.isBuiltIn = running.isBuiltIn
            former.isolation = running.isolation
            return former
        }
        guard let fallback = candidate.fallbacks.first else { return nil }
        var former = candidate
        (former.manifest, former.identity, former.fallbacks) = (fallback.manifest, fallback.identity, [])
        (former.missingGrants, former.quarantine) = ([], nil)
        return former
    }

    /// A plugin whose very content of now runs, or ran last, and may do so.
    fileprivate func served(_ name: String) -> Manifest? {
        guard let candidate = candidates.first(where: { $0.manifest.name == name }), candidate.isEnabled else { return nil }
        if let running = running.first(where: { $0.manifest.name == name }) { return running.manifest }
        return candidate.ranLast ? candidate.manifest : nil
    }

    /// Plans with what the upgrade would replace; false when there is nothing.
    mutating func keepRunning(_ upgrade: Step) -> Bool {
        guard
            let index = candidates.firstIndex(where: { $0.identity == upgrade.identity && $0.manifest.name == upgrade.plugin }),
            let former = former(candidates[index]), former.identity != upgrade.identity
        else { return false }
        candidates[index] = former
        return true
    }
}
