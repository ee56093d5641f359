#include "chronos/ops/health/state.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "fake_connection.h"
#include "result_matchers.h"

namespace chronos::ops::health {
namespace {

class HealthState : public testing::Test {
protected:
    HealthState() {
        connection_.on("to_regclass", {{"true"}});
        connection_.on("INSERT INTO chronos.health_state", db::Rows{});
        connection_.on("pg_notify", {{""}});
        Rule& rule = rules_.emplace_back();
        rule.name = "wal_gap";
        rule.state = RuleState::critical;
        rule.message = "WAL is missing";
    }
    Result<> tell(const std::string& command) {
        AlertRequest request{"main", 1795182683, {}};
        request.receivers.command = command;
        return tell_of_changes(request, connection_, rules_, memories_, cancel_);
    }
    std::ptrdiff_t asked(std::string_view text) const {
        return std::ranges::count_if(connection_.asked, [&](const std::string& sql) {
            return sql.find(text) != std::string::npos;
        });
    }

    test::FakeConnection connection_;
    std::vector<Rule> rules_;
    RuleMemories memories_;
    Cancellation cancel_;
};

// An alert that is told at every look is one that nobody reads; one that is lost was none.
TEST_F(HealthState, AChangeIsNotifiedOnceAndReceiversAreToldUntilTheyHaveAnswered) {
    ASSERT_OK(tell("exit 1"));
    EXPECT_EQ(asked("pg_notify"), 1);
    EXPECT_NE(memories_["wal_gap"].announced, RuleState::critical);
    ASSERT_OK(tell("exit 0"));
    EXPECT_EQ(asked("pg_notify"), 1);
    EXPECT_EQ(memories_["wal_gap"].announced, RuleState::critical);
    const auto saved = asked("INSERT");
    ASSERT_OK(tell("exit 1"));
    EXPECT_EQ(asked("INSERT"), saved) << "nothing has changed, and nobody is to be told";
}

// Told without having been written down, it would be told again by the next process.
TEST_F(HealthState, NobodyOutsideIsToldWhatCouldNotBeWrittenDown) {
    connection_.on_error("INSERT INTO chronos.health_state",
                         Error(ErrorKind::db_query, "read only"));
    EXPECT_ERROR(ErrorKind::db_query, tell("exit 0"));
    EXPECT_NE(memories_["wal_gap"].announced, RuleState::critical);
}

// Receivers take seconds each: a server that stops between two alerts tells the first one once
// only.
TEST_F(HealthState, WhatOneAlertHasToldIsWrittenDownBeforeTheNextOneIsTold) {
    Rule& next = rules_.emplace_back();
    next.name = "wal_lag";
    next.state = RuleState::warning;
    int saves = 0;
    connection_.on("INSERT INTO chronos.health_state", [&](const auto&) -> Result<db::Rows> {
        if (++saves == 3) return Error(ErrorKind::db_query, "the server stops");
        return db::Rows{};
    });
    EXPECT_ERROR(ErrorKind::db_query, tell("exit 0"));
    EXPECT_EQ(memories_["wal_gap"].announced, RuleState::critical);
    EXPECT_NE(memories_["wal_lag"].announced, RuleState::warning) << "it was told in the meantime";
}

TEST_F(HealthState, IsNoneWhereTheExtensionIsNotAndLeavesOutWhatIsNoState) {
    connection_.on("FROM chronos.health_state", {{"wal_gap", "critical", "1795182600", "ok"},
                                                 {"odd", "strange", "1", "ok"},
                                                 {"old", "ok", "-1", "ok"}});
    const auto states = load_states(connection_);
    ASSERT_OK(states);
    ASSERT_TRUE(*states);
    EXPECT_EQ((*states)->size(), 1u);
    EXPECT_EQ((*states)->at("wal_gap").since, 1795182600);
    connection_.on("to_regclass", {{"false"}});
    const auto none = load_states(connection_);
    ASSERT_OK(none);
    EXPECT_FALSE(*none);
}

}  // namespace
}  // namespace chronos::ops::health
