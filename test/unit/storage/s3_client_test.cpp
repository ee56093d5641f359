// What the storage makes of a server's answers, by a server that says what the test wants. What a
// real server says is tested by the contract (s3_contract_test.cpp).
#include <gmock/gmock.h>

#include <atomic>

#include "chronos/base/text.h"
#include "chronos/crypto/signing.h"
#include "chronos/storage/s3/s3_storage.h"
#include "http_server.h"
#include "random_bytes.h"
#include "result_matchers.h"
#include "storage/s3/upload.h"

namespace chronos::storage {
namespace {

using test::HttpServer;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Answer = HttpServer::Answer;
using Request = HttpServer::Request;

constexpr const char* kSecret = "the/secret+key";

S3Options options_for(const HttpServer& server) {
    S3Options options;
    options.bucket = "bkt";
    options.prefix = "p/repo one";
    options.endpoint = server.url();
    options.region = "us-test-1";
    options.path_style = true;
    options.service = "s3";
    options.key = "AKID";
    options.key_secret = kSecret;
    options.upload_chunk_size_bytes = 5 << 20;
    options.io_timeout = std::chrono::seconds(5);
    options.retry_for = std::chrono::milliseconds(1);  // two repetitions are always made
    return options;
}

std::unique_ptr<Storage> open_storage(S3Options options) {
    auto made = make_s3_storage(std::move(options));
    EXPECT_OK(made);
    return made ? *std::move(made) : nullptr;
}

Answer error_answer(int status, const std::string& code) {
    return {.status = status,
            .headers = {{"x-amz-request-id", "tx42"}},
            .body = "<Error><Code>" + code + "</Code><Message>why</Message></Error>"};
}

std::string md5_etag(const std::string& body) {
    return "\"" + to_hex(crypto::md5(io::bytes(body))) + "\"";
}

TEST(S3Request, BearsTheFormThatTheFormatNames) {
    HttpServer server([](const Request& request) {
        return Answer{.headers = {{"etag", md5_etag(request.body)}}};
    });
    S3Options options = options_for(server);
    options.tags = {{"a b", "c&d/e"}, {"env", "test"}};
    options.token = "session";
    options.requester_pays = true;
    options.kms_key_id = "key-1";
    const auto storage = open_storage(options);
    ASSERT_OK(write_object(*storage, "backup/main/x+y", "content"));
    ASSERT_EQ(server.requests().size(), 1u);
    const Request put = server.requests().front();
    EXPECT_EQ(put.method, "PUT");
    EXPECT_EQ(put.target, "/bkt/p/repo%20one/backup/main/x%2By");
    EXPECT_EQ(put.body, "content");
    EXPECT_EQ(put.headers.at("host"), server.authority());
    EXPECT_EQ(put.headers.at("x-amz-tagging"), "a%20b=c%26d%2Fe&env=test");
    EXPECT_EQ(put.headers.at("x-amz-security-token"), "session");
    EXPECT_EQ(put.headers.at("x-amz-request-payer"), "requester");
    EXPECT_EQ(put.headers.at("x-amz-server-side-encryption"), "aws:kms");
    EXPECT_EQ(put.headers.at("x-amz-server-side-encryption-aws-kms-key-id"), "key-1");
    EXPECT_EQ(put.headers.at("content-md5"), crypto::base64(crypto::md5(io::bytes("content"))));
    EXPECT_EQ(put.headers.at("x-amz-content-sha256"), crypto::sha256_hex(io::bytes("content")));
    EXPECT_EQ(put.headers.count("expect"), 0u);
    EXPECT_THAT(put.headers.at("authorization"),
                AllOf(HasSubstr("/us-test-1/s3/aws4_request"), HasSubstr("x-amz-tagging")));
}

TEST(S3Request, StorageHostIsConnectedToWhileTheBucketStaysTheHost) {
    HttpServer server([](const Request&) { return error_answer(404, "NoSuchKey"); });
    S3Options options = options_for(server);
    options.endpoint = "http://s3.example.com";
    options.path_style = false;
    options.host = server.url();
    const auto storage = open_storage(options);
    EXPECT_ERROR(ErrorKind::not_found, storage->open("x"));
    EXPECT_EQ(server.requests().at(0).headers.at("host"), "bkt.s3.example.com");
    EXPECT_EQ(server.requests().at(0).target, "/p/repo%20one/x");
}

TEST(S3Options, EndpointAndRegionFollowFromEachOther) {
    HttpServer server([](const Request&) { return error_answer(404, "NoSuchKey"); });
    const auto asked = [&](const std::string& endpoint, const std::string& region) -> std::string {
        S3Options options = options_for(server);
        options.endpoint = endpoint;
        options.region = region;
        options.path_style = false;
        options.host = server.url();
        options.environment = [](const std::string&) { return std::nullopt; };
        EXPECT_FALSE(static_cast<bool>(open_storage(options)->open("x")));
        const auto headers = server.requests().back().headers;
        const std::string& signature = headers.at("authorization");
        const std::size_t scope = signature.find('/') + 10;  // behind key and date
        EXPECT_EQ(headers.at("host").substr(0, 4), "bkt.");
        return headers.at("host").substr(4) + " " +
               signature.substr(scope, signature.find('/', scope) - scope);
    };
    EXPECT_EQ(asked("", "eu-west-1"), "s3.eu-west-1.amazonaws.com eu-west-1");
    EXPECT_EQ(asked("", "cn-north-1"), "s3.cn-north-1.amazonaws.com.cn cn-north-1");
    EXPECT_EQ(asked("s3.us-west-2.amazonaws.com", ""), "s3.us-west-2.amazonaws.com us-west-2");
    EXPECT_EQ(asked("https://s3.dualstack.eu-west-3.amazonaws.com/x", ""),
              "s3.dualstack.eu-west-3.amazonaws.com eu-west-3");
    EXPECT_EQ(asked("s3.amazonaws.com", ""), "s3.amazonaws.com us-east-1");
    // Transfer acceleration has one name for all regions.
    EXPECT_EQ(asked("s3-accelerate.amazonaws.com", "eu-west-1"),
              "s3-accelerate.amazonaws.com eu-west-1");
    EXPECT_EQ(asked("s3-accelerate.dualstack.amazonaws.com", ""),
              "s3-accelerate.dualstack.amazonaws.com us-east-1");
    EXPECT_EQ(asked("https://minio.example:9000", ""), "minio.example:9000 us-east-1");
    EXPECT_EQ(asked("minio.example:443", "r"), "minio.example r");
}

TEST(S3Options, WhatCannotWorkIsRefusedBeforeAnyRequest) {
    S3Options options;
    options.bucket = "b.c";
    options.io_timeout = std::chrono::seconds(5);
    options.key = options.key_secret = "k";
    options.environment = [](const std::string&) { return std::nullopt; };
    EXPECT_ERROR(ErrorKind::option_required, make_s3_storage(options));
    options.region = "r";
    EXPECT_ERROR(ErrorKind::option_invalid_value, make_s3_storage(options));
    options.path_style = true;
    EXPECT_OK(make_s3_storage(options));
    options.endpoint = "ftp://x";
    EXPECT_ERROR(ErrorKind::option_invalid_value, make_s3_storage(options));
    options.endpoint = "";
    options.customer_key = "c2hvcnQ=";
    EXPECT_ERROR(ErrorKind::option_invalid_value, make_s3_storage(options));
}

TEST(S3Retry, PassingFailuresAreRepeatedUntilTheAnswerComes) {
    for (const Answer& failure : {error_answer(500, "InternalError"), error_answer(503, "SlowDown"),
                                  error_answer(400, "RequestTimeout"), Answer{.status = 429},
                                  Answer{.status = 408}, Answer{.drop = true}}) {
        SCOPED_TRACE(failure.status);
        std::atomic<int> calls{0};
        HttpServer server([&](const Request&) -> Answer {
            if (++calls < 3) return failure;
            return Answer{.body = "content"};
        });
        const auto content = read_object(*open_storage(options_for(server)), "x");
        ASSERT_OK(content);
        EXPECT_EQ(*content, "content");
        EXPECT_GE(calls, 3);
    }
}

TEST(S3Retry, WhatDoesNotPassIsReportedAtOnceWithAllThatHelps) {
    std::atomic<int> calls{0};
    HttpServer server([&](const Request&) {
        ++calls;
        return error_answer(403, "SignatureDoesNotMatch");
    });
    const auto opened = open_storage(options_for(server))->open("x");
    ASSERT_FALSE(static_cast<bool>(opened));
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(opened.error().kind(), ErrorKind::access);
    EXPECT_THAT(
        opened.error().text(),
        AllOf(HasSubstr("get object s3://bkt/p/repo one/x"),
              HasSubstr("status 403 SignatureDoesNotMatch: why"), HasSubstr("request id tx42"),
              HasSubstr("repo-s3-key-secret"), Not(HasSubstr(kSecret))));
}

TEST(S3Retry, APermissionThatIsMissingIsNamed) {
    HttpServer server([&](const Request&) { return error_answer(403, "AccessDenied"); });
    const auto storage = open_storage(options_for(server));
    EXPECT_THAT(storage->open("x").error().hint(), HasSubstr("s3:GetObject"));
    EXPECT_THAT(storage->list("x").error().hint(), HasSubstr("s3:ListBucket"));
    EXPECT_THAT(storage->remove("x").error().hint(), HasSubstr("s3:DeleteObject"));
    EXPECT_THAT(write_object(*storage, "x", "y").error().hint(), HasSubstr("s3:PutObject"));
}

TEST(S3Retry, GivesUpAfterItsTimeAndSaysHowOftenItTried) {
    std::atomic<int> calls{0};
    HttpServer server([&](const Request&) {
        ++calls;
        return error_answer(500, "InternalError");
    });
    const auto opened = open_storage(options_for(server))->open("x");
    ASSERT_FALSE(static_cast<bool>(opened));
    EXPECT_EQ(calls, 3);
    EXPECT_THAT(opened.error().text(), HasSubstr("given up after 3 tries"));
}

TEST(S3Retry, ARequestToStopEndsTheWait) {
    Cancellation cancel;
    HttpServer server([&](const Request&) {
        cancel.request();
        return error_answer(500, "InternalError");
    });
    S3Options options = options_for(server);
    options.retry_for = std::chrono::hours(1);
    options.cancel = &cancel;
    EXPECT_ERROR(ErrorKind::cancelled, open_storage(options)->open("x"));
}

TEST(S3Retry, AClockThatIsOffIsCorrectedByTheServersDate) {
    std::vector<std::string> dates;
    HttpServer server([&](const Request& request) -> Answer {
        dates.push_back(request.headers.at("x-amz-date"));
        if (dates.size() > 1) return {.body = "content"};
        Answer answer = error_answer(403, "RequestTimeTooSkewed");
        answer.headers.emplace_back("date", "Fri, 01 Jan 2038 00:00:00 GMT");
        return answer;
    });
    EXPECT_OK(read_object(*open_storage(options_for(server)), "x"));
    ASSERT_EQ(dates.size(), 2u);
    EXPECT_EQ(dates[1].substr(0, 9), "20380101T");
}

TEST(S3Missing, IsOnlyWhatS3SaysInItsOwnWords) {
    Answer answer = error_answer(404, "NoSuchKey");
    HttpServer server([&](const Request&) { return answer; });
    const auto storage = open_storage(options_for(server));
    EXPECT_ERROR(ErrorKind::not_found, storage->open("x"));
    answer = error_answer(404, "NoSuchBucket");
    EXPECT_ERROR(ErrorKind::service, storage->open("x"));
    EXPECT_ERROR(ErrorKind::service, storage->info("x"));
    answer = {.status = 404, .body = "<html>no such site</html>"};
    EXPECT_ERROR(ErrorKind::service, storage->open("x"));
    EXPECT_ERROR(ErrorKind::service, storage->info("x"));
    answer = {.status = 301};
    EXPECT_ERROR(ErrorKind::service, storage->open("x"));
}

TEST(S3Read, ABodyThatIsCutIsContinuedInTheSameObject) {
    const std::string content = random_bytes(300000, 1);
    std::vector<Request> ranges;
    HttpServer server([&](const Request& request) -> Answer {
        const auto range = request.headers.find("range");
        if (range == request.headers.end())
            return {.headers = {{"etag", "\"e\""}}, .body = content, .cut_after = 100000};
        ranges.push_back(request);
        const std::size_t from = *parse_uint(range->second.substr(6, range->second.size() - 7));
        return {.status = 206,
                .headers = {{"etag", "\"e\""}},
                .body = content.substr(from),
                .cut_after = ranges.size() < 2 ? std::optional<std::size_t>(50000) : std::nullopt};
    });
    const auto read = read_object(*open_storage(options_for(server)), "x");
    ASSERT_OK(read);
    EXPECT_TRUE(*read == content);
    ASSERT_EQ(ranges.size(), 2u);
    EXPECT_EQ(ranges[0].headers.at("range"), "bytes=100000-");
    EXPECT_EQ(ranges[0].headers.at("if-match"), "\"e\"");
    EXPECT_EQ(ranges[1].headers.at("range"), "bytes=150000-");
}

TEST(S3Read, ABodyThatIsAlwaysCutIsAnErrorAndNotAShortObject) {
    HttpServer server([&](const Request& request) -> Answer {
        return {.status = request.headers.count("range") > 0 ? 206 : 200,
                .body = std::string(1000, 'x'),
                .cut_after = 0};
    });
    EXPECT_FALSE(static_cast<bool>(read_object(*open_storage(options_for(server)), "x")));
}

TEST(S3Read, AServerThatIgnoresTheRangeIsFoundOut) {
    HttpServer server([&](const Request&) -> Answer { return {.body = "0123456789"}; });
    EXPECT_ERROR(ErrorKind::service,
                 open_storage(options_for(server))->open("x", {.offset_bytes = 5}));
}

TEST(S3Write, WhatIsToBeTheFirstIsSentWithTheConditionAndWithoutItWhereThatIsUnknown) {
    std::atomic<int> refusal{0};
    HttpServer server([&](const Request& request) {
        if (request.method == "HEAD") return Answer{.status = 404, .headers = {}, .body = ""};
        if (refusal != 0 && request.headers.contains("if-none-match"))
            return error_answer(refusal, refusal == 409   ? "ConditionalRequestConflict"
                                         : refusal == 412 ? "PreconditionFailed"
                                                          : "NotImplemented");
        return Answer{.headers = {{"etag", md5_etag(request.body)}}};
    });
    const auto storage = open_storage(options_for(server));
    const auto put = [&] { return write_object(*storage, "x", "content", WriteMode::exclusive); };
    ASSERT_OK(put());
    ASSERT_EQ(server.requests().size(), 2u);
    EXPECT_EQ(server.requests().back().headers.at("if-none-match"), "*");
    EXPECT_THAT(server.requests().back().headers.at("authorization"), HasSubstr("if-none-match"));
    for (const int status : {409, 412}) {
        refusal = status;
        EXPECT_ERROR(ErrorKind::file_exists, put());
    }
    refusal = 501;
    ASSERT_OK(put());
    EXPECT_FALSE(server.requests().back().headers.contains("if-none-match"));
}

// A store that does not know the condition may ignore it.
TEST(S3Write, WhatIsToBeTheFirstIsNotSentWhereSomethingIs) {
    HttpServer server([](const Request&) {
        return Answer{.headers = {{"last-modified", "Fri, 20 Nov 2026 07:57:45 GMT"}}, .body = ""};
    });
    const auto storage = open_storage(options_for(server));
    EXPECT_ERROR(ErrorKind::file_exists,
                 write_object(*storage, "x", "content", WriteMode::exclusive));
    for (const Request& request : server.requests()) EXPECT_EQ(request.method, "HEAD");
}

TEST(S3Write, AnETagOfOtherDataIsNotTakenForSuccess) {
    std::atomic<int> calls{0};
    HttpServer server([&](const Request& request) -> Answer {
        return {.headers = {{"etag", md5_etag(++calls < 3 ? "other" : request.body)}}};
    });
    ASSERT_OK(write_object(*open_storage(options_for(server)), "x", "content"));
    EXPECT_EQ(calls, 3);
    calls = -1000;
    EXPECT_ERROR(ErrorKind::checksum,
                 write_object(*open_storage(options_for(server)), "x", "content"));
}

TEST(S3Write, AnETagThatIsNoChecksumIsNotCompared) {
    HttpServer server([&](const Request&) -> Answer {
        return {
            .headers = {{"etag", md5_etag("other")}, {"x-amz-server-side-encryption", "aws:kms"}}};
    });
    EXPECT_OK(write_object(*open_storage(options_for(server)), "x", "content"));
}

/// Takes multipart uploads and joins them; what a test wants to go wrong it does in front of it.
class PartStore {
public:
    Answer operator()(const Request& request) {
        const std::string& target = request.target;
        if (request.method == "POST" && target.ends_with("?uploads="))
            return {.body =
                        "<InitiateMultipartUploadResult><UploadId>U1</UploadId>"
                        "</InitiateMultipartUploadResult>"};
        if (const std::size_t at = target.find("partNumber="); at != std::string::npos) {
            parts[*parse_uint(target.substr(at + 11, target.find('&', at) - at - 11))] =
                request.body;
            return {.headers = {{"etag", md5_etag(request.body)}}};
        }
        if (request.method == "POST" && target.find("?uploadId=U1") != std::string::npos) {
            if (joined) return error_answer(404, "NoSuchUpload");
            joined = true;
            return {.body = "<CompleteMultipartUploadResult><ETag>&quot;" + etag() +
                            "&quot;</ETag></CompleteMultipartUploadResult>"};
        }
        if (request.method == "DELETE") {
            aborted = true;
            return {.status = 204};
        }
        if (request.method == "HEAD" && joined)
            return {.headers = {{"etag", "\"" + etag() + "\""},
                                {"content-length", std::to_string(content().size())}}};
        return error_answer(404, "NoSuchKey");
    }
    std::string content() const {
        std::string all;
        for (const auto& [number, part] : parts) all += part;
        return all;
    }
    std::string etag() const {
        std::string all;
        for (const auto& [number, part] : parts) all += io::text(crypto::md5(io::bytes(part)));
        return to_hex(crypto::md5(io::bytes(all))) + "-" + std::to_string(parts.size());
    }

    std::map<std::uint64_t, std::string> parts;
    bool joined = false;
    bool aborted = false;
};

std::string three_parts() {
    return random_bytes((std::size_t{11} << 20) + 1, 7);
}

TEST(S3Upload, PartsAreSentBesideEachOtherAndJoinedInOrder) {
    PartStore store;
    HttpServer server(std::ref(store));
    ASSERT_OK(write_object(*open_storage(options_for(server)), "x", three_parts()));
    EXPECT_TRUE(store.content() == three_parts());
    EXPECT_EQ(store.parts.size(), 3u);
    EXPECT_FALSE(store.aborted);
}

TEST(S3Upload, AnErrorInsideA200IsNotSuccess) {
    PartStore store;
    int completions = 0;
    HttpServer server([&](const Request& request) -> Answer {
        if (request.method == "POST" && request.target.find("uploadId=") != std::string::npos &&
            ++completions == 1)
            return {.body = "<Error><Code>InternalError</Code><Message>m</Message></Error>"};
        return store(request);
    });
    ASSERT_OK(write_object(*open_storage(options_for(server)), "x", three_parts()));
    EXPECT_EQ(completions, 2);
    EXPECT_TRUE(store.joined);
}

TEST(S3Upload, ACompletionWhoseAnswerGotLostIsFoundToHaveHappened) {
    PartStore store;
    HttpServer server([&](const Request& request) -> Answer {
        const bool first = !store.joined;
        Answer answer = store(request);
        if (first && store.joined) answer.drop = true;
        return answer;
    });
    ASSERT_OK(write_object(*open_storage(options_for(server)), "x", three_parts()));
}

TEST(S3Upload, AnUploadThatIsGoneWithoutAnObjectIsAnError) {
    PartStore store;
    HttpServer server([&](const Request& request) -> Answer {
        if (request.method == "POST" && request.target.find("uploadId=") != std::string::npos)
            return error_answer(404, "NoSuchUpload");
        return store(request);
    });
    const auto written = write_object(*open_storage(options_for(server)), "x", three_parts());
    ASSERT_FALSE(static_cast<bool>(written));
    EXPECT_THAT(written.error().text(), HasSubstr("NoSuchUpload"));
}

TEST(S3Upload, AFailedPartFailsTheUploadWhichIsAborted) {
    PartStore store;
    HttpServer server([&](const Request& request) -> Answer {
        if (request.target.find("partNumber=2") != std::string::npos)
            return error_answer(403, "QuotaExceeded");
        return store(request);
    });
    const auto written = write_object(*open_storage(options_for(server)), "x", three_parts());
    ASSERT_FALSE(static_cast<bool>(written));
    EXPECT_THAT(written.error().text(), HasSubstr("QuotaExceeded"));
    EXPECT_TRUE(store.aborted);
    EXPECT_FALSE(store.joined);
}

TEST(S3Upload, PartsGrowSoThatTenThousandHoldTheLargestObject) {
    constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
    const std::uint64_t chunk = 5 * kMiB;
    EXPECT_EQ(s3::part_size(chunk, 1), chunk);
    EXPECT_EQ(s3::part_size(chunk, 252), chunk);
    EXPECT_EQ(s3::part_size(chunk, 253), 8 * kMiB);
    EXPECT_EQ(s3::part_size(chunk, 10000), 1024 * kMiB);
    std::uint64_t total = 0;
    std::uint64_t before = 0;
    for (std::uint64_t number = 1; number <= 10000; ++number) {
        const std::uint64_t size = s3::part_size(chunk, number);
        ASSERT_GE(size, before);
        before = size;
        total += size;
    }
    // S3's largest object is 5 TB, counted in tens.
    EXPECT_GE(total, std::uint64_t{5} * 1000 * 1000 * 1000 * 1000);
    EXPECT_EQ(s3::part_size(1024 * kMiB, 5), 1024 * kMiB);
}

TEST(S3Delete, WhatABatchRefusesIsTriedAlone) {
    std::vector<std::string> single;
    HttpServer server([&](const Request& request) -> Answer {
        if (request.method == "GET")
            return {.body =
                        "<ListBucketResult><Contents><Key>p/repo one/d/a</Key></Contents>"
                        "<Contents><Key>p/repo one/d/b</Key></Contents></ListBucketResult>"};
        if (request.method == "DELETE") {
            single.push_back(request.target);
            return {.status = 204};
        }
        return {.body =
                    "<DeleteResult><Error><Key>p/repo one/d/b</Key><Code>InternalError</Code>"
                    "</Error></DeleteResult>"};
    });
    ASSERT_OK(open_storage(options_for(server))->remove_tree("d"));
    EXPECT_EQ(single, (std::vector<std::string>{"/bkt/p/repo%20one/d/b"}));
}

TEST(S3List, AListingThatWasCutIsAskedForAgain) {
    int calls = 0;
    HttpServer server([&](const Request&) -> Answer {
        if (++calls == 1) return {.body = "<ListBucketResult><Contents><Key>p/repo one/d/a</Key>"};
        return {.body =
                    "<ListBucketResult><Contents><Key>p/repo one/d/a</Key><Size>1</Size>"
                    "</Contents></ListBucketResult>"};
    });
    const auto entries = open_storage(options_for(server))->list("d");
    ASSERT_OK(entries);
    EXPECT_EQ(entries->size(), 1u);
    EXPECT_EQ(calls, 2);
}

TEST(S3Read, AnArchivedObjectIsAnErrorThatSaysSo) {
    HttpServer server([&](const Request&) { return error_answer(403, "InvalidObjectState"); });
    EXPECT_THAT(open_storage(options_for(server))->open("x").error().hint(),
                HasSubstr("archive storage class"));
}

}  // namespace
}  // namespace chronos::storage
