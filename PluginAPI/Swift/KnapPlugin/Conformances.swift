import CKnap

/// The optional protocols that a plugin instance conforms to: cast once, so that no call pays for it.
struct Conformances: Sendable {
    let stateful: (any Stateful)?
    let health: (any HealthReporting)?
    let draining: (any Draining)?
    let committing: (any Committing)?
    let observing: (any Observing)?
    let intercepting: (any Intercepting)?

    init(_ plugin: any Plugin) {
        stateful = plugin as? any Stateful
        health = plugin as? any HealthReporting
        draining = plugin as? any Draining
        committing = plugin as? any Committing
        observing = plugin as? any Observing
        intercepting = plugin as? any Intercepting
    }
}

/// The ABI's tables for the optional protocols that a plugin type conforms to, and for no others.
struct ExtensionTables: @unchecked Sendable {  // The tables are written once, before anyone sees them, and never freed.
    private let tables: [(id: String, table: UnsafeRawPointer)]

    init(_ type: any Plugin.Type) {
        var tables: [(id: String, table: UnsafeRawPointer)] = []
        if let type = type as? any Stateful.Type {
            tables.append((KNAP_EXT_STATE, Self.permanent(Self.state(schema: type.stateSchema))))
        }
        if type is any HealthReporting.Type { tables.append((KNAP_EXT_HEALTH, Self.permanent(Self.health()))) }
        if type is any Draining.Type { tables.append((KNAP_EXT_DRAIN, Self.permanent(Self.drain()))) }
        if type is any Committing.Type { tables.append((KNAP_EXT_COMMITTED, Self.permanent(Self.committed()))) }
        if type is any Observing.Type { tables.append((KNAP_EXT_OBSERVE, Self.permanent(Self.observe()))) }
        if type is any Intercepting.Type { tables.append((KNAP_EXT_INTERCEPT, Self.permanent(Self.intercept()))) }
        self.tables = tables
    }

    func table(_ id: String) -> UnsafeRawPointer? { tables.first { $0.id == id }?.table }

    private static func permanent<T>(_ table: T) -> UnsafeRawPointer {
        let memory = UnsafeMutablePointer<T>.allocate(capacity: 1)
        memory.initialize(to: table)
        return UnsafeRawPointer(memory)
    }
}
