// Without a mount only what is asked for is restored, and what recovery did not find of that is an
// error.
#include "flows/selection.h"

#include <gtest/gtest.h>

#include "flows/restored_past.h"
#include "result_matchers.h"

namespace chronos::flows {
namespace {

Selection of_database_5() {
    Selection selection;
    selection.add_database(5);
    selection.add_relation("base/5/16412");
    selection.add_relation("pg_tblspc/16390/PG_15_202209061/5/16500");
    return selection;
}

TEST(Selection, HasAllThatIsNoRelationAndCatalogsAndWhatWasAskedFor) {
    const Selection selection = of_database_5();
    for (const char* name :
         {"pg_data/PG_VERSION", "pg_data/global/1262", "pg_data/global/16999",
          "pg_data/pg_xact/0000", "pg_data/base/5/PG_VERSION", "pg_data/base/5/pg_filenode.map",
          "pg_data/base/7/PG_VERSION", "pg_data/base/5/1259", "pg_data/base/5/1259_vm",
          "pg_data/base/5/2619.1", "pg_data/base/5/16412", "pg_data/base/5/16412.3",
          "pg_data/base/5/16412_fsm", "pg_data/base/5/16412_init",
          "pg_tblspc/16390/PG_15_202209061/5/16500.1", "pg_tblspc/16390/PG_15_202209061/5/2619"})
        EXPECT_FALSE(selection.is_zeroed(name)) << name;
    for (const char* name :
         {"pg_data/base/5/16413", "pg_data/base/5/16413_vm", "pg_data/base/5/164120",
          "pg_data/base/5/2613", "pg_data/base/5/2683", "pg_data/base/7/1259",
          "pg_data/base/7/16412", "pg_tblspc/16390/PG_15_202209061/5/16412",
          "pg_tblspc/16391/PG_15_202209061/5/16500",
          "pg_data/pg_tblspc/16390/PG_15_202209061/5/99999"})
        EXPECT_TRUE(selection.is_zeroed(name)) << name;
}

TEST(Selection, HasEverythingOnceThatIsNeeded) {
    Selection selection = of_database_5();
    selection.add_everything();
    EXPECT_FALSE(selection.is_zeroed("pg_data/base/7/16412"));
}

// The server would have ended at such a page if it were not told to go on for those of others.
TEST(Selection, APageThatRecoveryDoesNotFindIsAnErrorWhereItIsAsked) {
    const Selection selection = of_database_5();
    const auto log = [](const std::string& relation, const std::string& what = "is uninitialized") {
        return "2026-12-01 12:00:00.000 UTC LOG:  starting\n2026-12-01 12:00:00.000 UTC WARNING:  "
               "page 17 of relation " +
               relation + " " + what + "\n2026-12-01 12:00:00.000 UTC WARNING:  WAL contains\n";
    };
    for (const char* relation :
         {"base/5/16413", "base/5/16413_vm", "base/7/16412", "base/7/1259"}) {
        SCOPED_TRACE(relation);
        EXPECT_OK(check_found_pages(log(relation), selection));
    }
    for (const char* relation : {"base/5/16412", "base/5/16412_vm", "base/5/1259", "global/1262",
                                 "pg_tblspc/16390/PG_15_202209061/5/16500"}) {
        SCOPED_TRACE(relation);
        EXPECT_ERROR(ErrorKind::runtime, check_found_pages(log(relation), selection));
        EXPECT_ERROR(ErrorKind::runtime,
                     check_found_pages(log(relation, "does not exist"), selection));
    }
}

}  // namespace
}  // namespace chronos::flows
