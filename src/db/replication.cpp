#include "chronos/db/replication.h"

#include <algorithm>
#include <string_view>

#include "chronos/base/text.h"

namespace chronos::db {
namespace {

Error unexpected(std::string_view what) {
    return {ErrorKind::db_query,
            "the server's answer about " + std::string(what) + " is not of the expected form"};
}

Result<std::string> show(Connection& replication, const std::string& name) {
    const Rows rows = CHRONOS_TRY_DOING(replication.query("SHOW " + name), "ask for " + name);
    if (rows.size() != 1 || rows.front().size() != 1 || !rows.front()[0]) return unexpected(name);
    return *rows.front()[0];
}

Result<std::uint32_t> show_number(Connection& replication, const std::string& name) {
    const auto value = parse_uint(CHRONOS_TRY(show(replication, name)));
    if (!value) return unexpected(name);
    return static_cast<std::uint32_t>(*value);
}

bool has_state(const Error& error, std::string_view state) {
    return error.message().find("(SQLSTATE " + std::string(state) + ")") != std::string::npos;
}

constexpr std::string_view kUndefinedObject = "42704";

}  // namespace

Result<SenderFacts> read_sender_facts(Connection& replication) {
    constexpr std::string_view what = "its WAL";
    const Rows rows =
        CHRONOS_TRY_DOING(replication.query("IDENTIFY_SYSTEM"), "identify the system");
    if (rows.size() != 1 || rows.front().size() < 3) return unexpected(what);
    const Row& row = rows.front();
    const auto system_id = parse_uint(row[0].value_or(""));
    const auto timeline = parse_uint(row[1].value_or(""));
    const auto end = Lsn::parse(row[2].value_or(""));
    if (!system_id || !timeline || !end) return unexpected(what);
    SenderFacts facts;
    facts.system_id = *system_id;
    facts.timeline = static_cast<Timeline>(*timeline);
    facts.end = *end;
    facts.version_num = CHRONOS_TRY(show_number(replication, "server_version_num"));
    facts.wal_level = CHRONOS_TRY(show(replication, "wal_level"));
    if (facts.version_num >= 140000)
        facts.in_recovery = CHRONOS_TRY(show(replication, "in_hot_standby")) == "on";
    for (const char* name : {"max_connections", "max_worker_processes", "max_wal_senders",
                             "max_prepared_transactions", "max_locks_per_transaction"})
        facts.parameters[name] = CHRONOS_TRY(show_number(replication, name));
    return facts;
}

Result<std::string> timeline_history(Connection& replication, Timeline timeline) {
    constexpr std::string_view what = "the history of its timeline";
    const Rows rows = CHRONOS_TRY_DOING(
        replication.query("TIMELINE_HISTORY " + std::to_string(timeline)), std::string(what));
    if (rows.size() != 1 || rows.front().size() != 2 || !rows.front()[1]) return unexpected(what);
    return *rows.front()[1];
}

Result<SlotState> probe_slot(Connection& replication, const std::string& slot,
                             const SenderFacts& facts) {
    const auto begun =
        replication.query("START_REPLICATION SLOT \"" + slot + "\" PHYSICAL " + facts.end.str() +
                          " TIMELINE " + std::to_string(facts.timeline));
    if (begun) return SlotState::free;
    if (has_state(begun.error(), kUndefinedObject)) return SlotState::absent;
    return Error(begun.error()).while_doing("replication slot '" + slot + "' of the primary");
}

Result<> create_slot(Connection& replication, const std::string& slot) {
    CHRONOS_TRY_DOING(replication.query("CREATE_REPLICATION_SLOT \"" + slot + "\" PHYSICAL"),
                      "create replication slot '" + slot + "'");
    return {};
}

Result<> drop_slot(Connection& replication, const std::string& slot) {
    CHRONOS_TRY_DOING(replication.query("DROP_REPLICATION_SLOT \"" + slot + "\""),
                      "drop replication slot '" + slot + "'");
    return {};
}

bool is_slot_name(const std::string& name) {
    return !name.empty() && name.size() < 64 && std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
}

}  // namespace chronos::db
