#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "chronos/db/connection.h"

namespace chronos::test {

/// A server as far as its answers go: rules say what is answered to statements that contain a
/// text, the last rule that fits wins. `asked` keeps every statement.
class FakeConnection final : public db::Connection {
public:
    using Answer = std::function<Result<db::Rows>(const std::vector<std::string>& parameters)>;

    void on(std::string text, Answer answer) {
        rules_.emplace_back(std::move(text), std::move(answer));
    }
    void on(std::string text, db::Rows rows) {
        on(std::move(text), [rows](const auto&) -> Result<db::Rows> { return rows; });
    }
    void on_error(std::string text, Error error) {
        on(std::move(text), [error](const auto&) -> Result<db::Rows> { return error; });
    }

    using db::Connection::query;
    Result<db::Rows> query(std::string_view sql,
                           const std::vector<std::string>& parameters) override {
        asked.emplace_back(sql);
        for (auto rule = rules_.rbegin(); rule != rules_.rend(); ++rule)
            if (sql.find(rule->first) != std::string_view::npos) return rule->second(parameters);
        return Error(ErrorKind::db_query, "no rule for: " + std::string(sql));
    }
    bool was_asked(std::string_view text) const {
        for (const std::string& sql : asked)
            if (sql.find(text) != std::string::npos) return true;
        return false;
    }

    std::vector<std::string> asked;

private:
    std::vector<std::pair<std::string, Answer>> rules_;
};

/// The answer to the question about the settings of the server, one member a column.
struct FakeFacts {
    std::string version_num = "150007";
    std::string data_directory = "/srv/data";
    std::string system_id = "7710159678555610611";
    std::string in_recovery = "false";
    std::string data_checksums = "on";
    std::string archive_mode = "on";
    std::string archive_command = "";
    std::string archive_library = "chronos_backup";
    std::string shared_preload_libraries = "chronos_backup";
    std::string wal_level = "replica";
    std::string max_wal_senders = "10";
    std::string archive_timeout = "60";
    std::string checkpoint_timeout = "300";

    db::Rows rows() const {
        return {{version_num, data_directory, system_id, in_recovery, data_checksums, archive_mode,
                 archive_command, archive_library, shared_preload_libraries, wal_level,
                 max_wal_senders, archive_timeout, checkpoint_timeout}};
    }
    static constexpr const char* kQuestion = "server_version_num";
};

}  // namespace chronos::test
