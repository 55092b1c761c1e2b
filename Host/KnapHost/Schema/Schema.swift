import KnapJSON

/// A JSON Schema of draft 2020-12, compiled once and used on any thread.
///
/// All keywords of the core, applicator, unevaluated and validation vocabularies count; `format` and the content
/// keywords are annotations, as the draft has it by default. References are resolved when it is compiled, within the
/// documents given: nothing is fetched.
package struct Schema: Sendable {
    let nodes: [SchemaNode]
    let root: Int
    /// The dynamic anchors of each schema resource.
    let dynamicAnchors: [[String: Int]]
    /// Some schema asks what others evaluated, so that has to be noted.
    let tracksEvaluation: Bool
    /// Some schema refers to the resources on the way to it, so those have to be noted.
    let tracksScope: Bool

    package static func compile(
        _ document: JSON, registry: SchemaRegistry = .empty, base: String = ""
    ) throws(SchemaError) -> Schema {
        var compiler = SchemaCompiler(registry: registry)
        let root = try compiler.compile(document, base: base)
        return Schema(
            nodes: compiler.nodes, root: root, dynamicAnchors: compiler.dynamicAnchors,
            tracksEvaluation: compiler.tracksEvaluation,
            tracksScope: compiler.dynamicAnchors.contains { !$0.isEmpty })
    }

    /// Whether the value fits; the quick way, without reasons.
    package func isValid(_ instance: JSON) -> Bool {
        var evaluation = SchemaEvaluation(schema: self, explains: false)
        return evaluation.run(instance)
    }

    /// What about the value does not fit; nothing when it does.
    package func validate(_ instance: JSON) -> [Violation] {
        if isValid(instance) { return [] }
        var evaluation = SchemaEvaluation(schema: self, explains: true)
        if evaluation.run(instance) { return [] }
        return evaluation.violations
    }
}
