#include "engine/connection.h"

#include "chronos/base/activity.h"
#include "chronos/base/text.h"

namespace chronos::engine {
namespace {

constexpr std::uint64_t kColumnsMax = 1664;  // PostgreSQL's own limit

Error broken(const std::string& what) {
    return Error(ErrorKind::protocol, "the server sent " + what);
}

/// The fields are named by column number; a NULL is left out.
db::Row parse_row(control::Message& message, std::uint64_t columns) {
    db::Row row(columns);
    for (auto& [key, value] : message.fields) {
        const auto column = parse_uint(key);
        if (column && *column >= 1 && *column <= columns) row[*column - 1] = std::move(value);
    }
    return row;
}

}  // namespace

Result<db::Rows> ControlConnection::query(std::string_view sql,
                                          const std::vector<std::string>& parameters) {
    control::Message question = control::Message("query").with("id", ++last_id_).with("sql", sql);
    for (std::size_t i = 0; i < parameters.size(); ++i)
        question.fields.emplace_back("p" + std::to_string(i + 1), parameters[i]);
    if (control::encode(question).size() > control::kLineSizeMax)
        return Error(ErrorKind::db_query, "the statement is too long");
    channel_.send(question);
    for (;;) {
        const control::Message answer = CHRONOS_TRY(receive());
        const bool mine = answer.get_uint("id") == last_id_;
        if (mine && answer.verb == "rows") return receive_rows(answer);
        if (mine && answer.verb == "query-failed")
            return Error(ErrorKind::db_query,
                         std::string(answer.get_or("message", "?")) + " (SQLSTATE " +
                             std::string(answer.get_or("sqlstate", "?")) + ")");
        return broken("'" + answer.verb + "' instead of rows");
    }
}

Result<control::Message> ControlConnection::receive() {
    std::optional<control::Message> message = CHRONOS_TRY(channel_.receive(cancel_));
    Activity::note();
    if (message) return *std::move(message);
    return Error(ErrorKind::db_connect, "the server process has gone");
}

Result<db::Rows> ControlConnection::receive_rows(const control::Message& head) {
    const auto columns = head.get_uint("columns");
    const auto count = head.get_uint("count");
    if (!columns || !count || *columns > kColumnsMax) return broken("rows without their number");
    db::Rows rows;
    for (std::uint64_t i = 0; i < *count; ++i) {
        control::Message message = CHRONOS_TRY(receive());
        if (message.verb != "row") return broken("'" + message.verb + "' instead of a row");
        rows.push_back(parse_row(message, *columns));
    }
    return rows;
}

}  // namespace chronos::engine
