/// How severe a log message is, after RFC 5424; the order of the cases is that of severity.
package enum LogLevel: String, Sendable, CaseIterable, Comparable {
    case debug, info, notice, warning, error, critical, alert, emergency

    private var severity: Int { Self.allCases.firstIndex(of: self) ?? 0 }
    package static func < (a: LogLevel, b: LogLevel) -> Bool { a.severity < b.severity }
}
