#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chronos/db/connection.h"
#include "chronos/ops/table/table.h"
#include "ops/table/needs.h"
#include "ops/table/past.h"

/// The side of the live database.
namespace chronos::ops::table {

/// In a session of its own; `cancel` outlives it.
Result<std::unique_ptr<db::Connection>> connect_home(const TableRequest& request, const Home& home,
                                                     const std::string& password,
                                                     const Cancellation& cancel);
/// What a name for the new schema must be: kind option_invalid_value.
Result<> check_schema_name(const std::string& schema);
/// Kind option_invalid_value if there is one of that name.
Result<> check_schema_is_new(db::Connection& home, const std::string& schema);

/// The new schema, and what has to go with it if it does not become whole: destroyed before keep()
/// it takes all away again, whatever was requested meanwhile.
class NewSchema {
public:
    static Result<std::unique_ptr<NewSchema>> create(const TableRequest& request,
                                                     const std::string& schema,
                                                     const Cancellation& cancel);
    ~NewSchema();
    NewSchema(const NewSchema&) = delete;
    NewSchema& operator=(const NewSchema&) = delete;

    /// From here on what is written belongs to `owner`, "" if home has no such role: then to the
    /// caller. With `code` it is written in sessions of a role that is made for it and can no more
    /// than the owner: a function of anybody that runs there cannot become the caller. An owner who
    /// is no superuser does it himself.
    Result<> begin(const std::string& owner, bool code, const std::vector<Need>& needs);
    /// Makes the tables, by what pg_dump has written to `file`. Kind db_mismatch if they have code
    /// that begin() was not told of: who owns a type could have exchanged it meanwhile.
    Result<> make_tables(const Past& past, const std::string& file,
                         const std::vector<std::string>& tables);
    /// Runs one section of what pg_dump has written to `file`.
    Result<> restore(const Past& past, const std::string& file, const std::string& section);
    /// The session that rows are written in.
    db::Connection& writer() { return *writer_; }
    /// Gives the tables to the owner, with what was made for them: `made` is all of that, as it is
    /// in the past. Kind db_invalid if somebody put something on them meanwhile, or changed it.
    Result<> end(const std::vector<std::string>& tables, const std::vector<Need>& made);
    /// It is whole. The privileges are granted with that; of each why it could not be, or "".
    Result<std::vector<std::string>> keep(const std::string& comment,
                                          const std::vector<Grant>& grants);

    const std::string& name() const { return name_; }
    /// The one that begin() was told of, or the caller.
    const std::string& owner() const { return owner_; }

private:
    NewSchema(const TableRequest& request, std::string name, const Cancellation& cancel)
        : request_(request), name_(std::move(name)), cancel_(cancel) {}
    /// Of the caller's session, which goes on whatever is requested.
    Result<db::Rows> ask(std::string_view sql, const std::vector<std::string>& parameters = {});
    Result<> make_role(const std::string& owner, const std::vector<Need>& needs);
    Result<> log_in(const std::string& password);
    Result<> give_away(const std::vector<std::string>& tables, const std::vector<Need>& made);
    Result<> give_away_needs(const std::vector<Need>& made);
    Result<> let_in_owners();
    Result<std::string> grant(const Grant& grant);
    Result<> let_nobody_in();
    Result<> remove_role();
    Result<std::string> id_now();
    Result<> come_back();
    Result<> remove();

    const TableRequest& request_;
    std::string name_;
    std::string id_;  ///< its number
    const Cancellation& cancel_;
    Cancellation never_;  ///< what is taken away is so even when that is requested
    std::unique_ptr<db::Connection> control_;
    std::unique_ptr<db::Connection> writer_;
    Home writer_home_;
    std::string writer_password_;  ///< a secret
    std::string caller_;
    bool caller_is_superuser_ = false;
    std::string owner_;
    std::vector<std::string> owners_;
    std::string role_;  ///< made for this; "" if none is there
    bool has_code_ = false;
    bool made_ = false;
    bool kept_ = false;
};

}  // namespace chronos::ops::table
