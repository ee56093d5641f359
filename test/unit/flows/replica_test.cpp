#include "chronos/flows/replica.h"

#include <gmock/gmock.h>

#include "fake_connection.h"
#include "result_matchers.h"

namespace chronos::flows {
namespace {

using testing::HasSubstr;
using testing::Not;

void answer(test::FakeConnection& server, std::string name, std::string value) {
    server.on("SHOW " + name, db::Rows{{std::move(value)}});
}

/// A primary on timeline 3.
void answer_as_primary(test::FakeConnection& server) {
    server.on("IDENTIFY_SYSTEM", db::Rows{{"7710159678555610611", "3", "0/5000060", std::nullopt}});
    answer(server, "server_version_num", "150007");
    answer(server, "wal_level", "replica");
    answer(server, "in_hot_standby", "off");
    answer(server, "max_connections", "70");
    answer(server, "max_worker_processes", "8");
    answer(server, "max_wal_senders", "10");
    answer(server, "max_prepared_transactions", "0");
    answer(server, "max_locks_per_transaction", "64");
}

// What is refused here is refused before the primary, or a repository, is asked anything.
TEST(ReplicaFlow, RefusesWhatWouldLeakOrIsNoConnectionString) {
    EXPECT_OK(check_conninfo("host=pg1 port=5432 user=replicator passfile=/etc/pass"));
    EXPECT_OK(check_conninfo("postgresql://replicator@pg1:5432?sslmode=require"));
    for (const char* text : {"password=opensesame", "postgresql://me:opensesame@pg1",
                             "host=pg1 sslpassword=opensesame", "host pg1 opensesame"}) {
        const auto checked = check_conninfo(text);
        ASSERT_FALSE(checked) << text;
        EXPECT_EQ(checked.error().kind(), ErrorKind::option_invalid_value);
        EXPECT_THAT(checked.error().text(), Not(HasSubstr("opensesame")));
    }
    for (const char* text : {"dbname=postgres", "host=pg1 replication=database"})
        EXPECT_ERROR(ErrorKind::option_invalid_value, check_conninfo(text));
}

TEST(ReplicaFlow, AsksNobodyForASlotThatIsNone) {
    bool asked = false;
    ReplicaRequest request;
    request.conninfo = "host=pg1";
    request.connect = [&]() -> Result<std::unique_ptr<db::Connection>> {
        asked = true;
        return Error(ErrorKind::db_connect, "asked");
    };
    for (const char* name : {"First", "a-b", "a\"b", " ",
                             "a123456789b123456789c123456789d123456789e123456789f123456789g123"}) {
        request.slot = name;
        EXPECT_ERROR(ErrorKind::option_invalid_value, plan_replica(request));
    }
    request.slot = "";
    request.create_slot = true;
    EXPECT_ERROR(ErrorKind::option_invalid, plan_replica(request));
    EXPECT_FALSE(asked);
    request.create_slot = false;
    EXPECT_ERROR(ErrorKind::db_connect, plan_replica(request));
}

TEST(SenderFacts, AreWhatTheServerSaysByTheProtocolOfReplication) {
    test::FakeConnection server;
    answer_as_primary(server);
    auto facts = db::read_sender_facts(server);
    ASSERT_OK(facts);
    EXPECT_EQ(facts->system_id, 7710159678555610611u);
    EXPECT_EQ(facts->timeline, 3u);
    EXPECT_EQ(facts->end.str(), "0/5000060");
    EXPECT_EQ(facts->in_recovery, false);
    EXPECT_EQ(facts->parameters.at("max_connections"), 70u);
    // Before version 14 there is nothing to ask.
    answer(server, "server_version_num", "130010");
    server.on_error("in_hot_standby", Error(ErrorKind::db_query, "unrecognized"));
    facts = db::read_sender_facts(server);
    ASSERT_OK(facts);
    EXPECT_EQ(facts->in_recovery, std::nullopt);
    for (const db::Rows& odd : {db::Rows{}, db::Rows{{"x", "3", "0/1"}}, db::Rows{{"1", "3"}}}) {
        server.on("IDENTIFY_SYSTEM", odd);
        EXPECT_ERROR(ErrorKind::db_query, db::read_sender_facts(server));
    }
}

TEST(ReplicationSlot, IsAbsentFreeOrNotForUs) {
    test::FakeConnection server;
    db::SenderFacts facts;
    facts.timeline = 3;
    facts.end = Lsn{0x5000060};
    server.on("START_REPLICATION", db::Rows{});
    EXPECT_EQ(*db::probe_slot(server, "one", facts), db::SlotState::free);
    EXPECT_TRUE(server.was_asked("SLOT \"one\" PHYSICAL 0/5000060 TIMELINE 3"));
    server.on_error(
        "START_REPLICATION",
        Error(ErrorKind::db_query, "replication slot \"one\" does not exist (SQLSTATE 42704)"));
    EXPECT_EQ(*db::probe_slot(server, "one", facts), db::SlotState::absent);
    server.on_error("START_REPLICATION",
                    Error(ErrorKind::db_query,
                          "replication slot \"one\" is active for PID 42704 (SQLSTATE 55006)"));
    EXPECT_ERROR(ErrorKind::db_query, db::probe_slot(server, "one", facts));
}

}  // namespace
}  // namespace chronos::flows
