#include "storage/s3/credentials.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "http_server.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::storage::s3 {
namespace {

using test::HttpServer;

class CredentialsTest : public testing::Test {
protected:
    CredentialsTest() {
        options_.io_timeout = std::chrono::minutes(1);
        options_.environment = [this](const std::string& name) -> std::optional<std::string> {
            const auto at = variables_.find(name);
            return at == variables_.end() ? std::nullopt : std::optional(at->second);
        };
    }
    std::string write(const std::string& name, const std::string& content) {
        const std::string path = directory_.path() + "/" + name;
        std::ofstream(path) << content;
        return path;
    }
    std::unique_ptr<CredentialSource> source() {
        auto made = make_credential_source(options_);
        EXPECT_OK(made);
        return made ? *std::move(made) : nullptr;
    }
    /// "key/secret/token", or the error.
    static std::string text_of(CredentialSource& from) {
        const auto got = from.get();
        if (!got) return got.error().text();
        return got->access_key + "/" + got->secret_key + "/" + got->session_token;
    }
    static std::string json(const std::string& key, UnixTime expires) {
        return R"({"Code":"Success","AccessKeyId":")" + key +
               R"(","SecretAccessKey":"S","Token":"T","Expiration":")" + iso(expires) + "\"}";
    }
    static std::string iso(UnixTime time) {
        std::string text = amz_date(time);  // 20261120T081456Z
        return text.substr(0, 4) + "-" + text.substr(4, 2) + "-" + text.substr(6, 5) + ":" +
               text.substr(11, 2) + ":" + text.substr(13, 2) + "Z";
    }

    test::TemporaryDirectory directory_;
    std::map<std::string, std::string> variables_;
    S3Options options_;
};

TEST_F(CredentialsTest, KeysOfTheConfigurationWin) {
    variables_ = {{"AWS_ACCESS_KEY_ID", "E"}, {"AWS_SECRET_ACCESS_KEY", "ES"}};
    options_.key = "K";
    options_.key_secret = "KS";
    options_.token = "KT";
    const auto keys = source();
    EXPECT_EQ(text_of(*keys), "K/KS/KT");
    EXPECT_FALSE(keys->invalidate({"K", "KS", "KT"})) << "there are no others";
}

TEST_F(CredentialsTest, EnvironmentComesBeforeTheSharedFile) {
    variables_ = {{"AWS_ACCESS_KEY_ID", "E"},
                  {"AWS_SECRET_ACCESS_KEY", "ES"},
                  {"AWS_SHARED_CREDENTIALS_FILE", "/nowhere"}};
    EXPECT_EQ(text_of(*source()), "E/ES/");
    variables_["AWS_SESSION_TOKEN"] = "ET";
    EXPECT_EQ(text_of(*source()), "E/ES/ET");
}

TEST_F(CredentialsTest, SharedFileIsReadByProfileAndAgainWhenItHasChanged) {
    const std::string path = write("credentials",
                                   "[default]\naws_access_key_id = D\naws_secret_access_key=DS\n"
                                   "# note\n[ backup ]\naws_access_key_id=B\n"
                                   "aws_secret_access_key = BS\naws_session_token = BT=\n");
    variables_ = {{"AWS_SHARED_CREDENTIALS_FILE", path}};
    EXPECT_EQ(text_of(*source()), "D/DS/");
    variables_["AWS_PROFILE"] = "backup";
    const auto keys = source();
    EXPECT_EQ(text_of(*keys), "B/BS/BT=");

    write("credentials", "[backup]\naws_access_key_id=N\naws_secret_access_key=NS\n");
    std::filesystem::last_write_time(
        path, std::filesystem::file_time_type::clock::now() + std::chrono::seconds(5));
    EXPECT_EQ(text_of(*keys), "N/NS/");
    EXPECT_TRUE(keys->invalidate({"B", "BS", "BT="})) << "the file has others than the refused";
    EXPECT_FALSE(keys->invalidate({"N", "NS", ""}));

    variables_["AWS_PROFILE"] = "missing";
    EXPECT_THAT(text_of(*source()), testing::HasSubstr("profile 'missing'"));
}

TEST_F(CredentialsTest, WithoutAnyKeysTheErrorNamesTheWays) {
    const auto made = make_credential_source(options_);
    ASSERT_FALSE(static_cast<bool>(made));
    EXPECT_EQ(made.error().kind(), ErrorKind::option_required);
    EXPECT_THAT(made.error().hint(), testing::HasSubstr("AWS_ACCESS_KEY_ID"));
}

TEST_F(CredentialsTest, InstanceRoleGoesThroughATokenAndIsKeptUntilItExpires) {
    UnixTime expires = unix_now() + 3600;
    int fetched = 0;
    HttpServer server([&](const HttpServer::Request& request) -> HttpServer::Answer {
        if (request.target == "/latest/api/token")
            return request.method == "PUT" ? HttpServer::Answer{.body = "TOKEN"}
                                           : HttpServer::Answer{.status = 405};
        const auto token = request.headers.find("x-aws-ec2-metadata-token");
        if (token == request.headers.end() || token->second != "TOKEN") return {.status = 401};
        const std::string base = "/latest/meta-data/iam/security-credentials/";
        if (request.target == base) return {.body = "the-role\n"};
        if (request.target == base + "the-role")
            return {.body = json("I" + std::to_string(++fetched), expires)};
        return {.status = 404};
    });
    variables_ = {{"AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url()}};
    options_.key_type = S3KeyType::automatic;
    const auto keys = source();
    EXPECT_EQ(text_of(*keys), "I1/S/T");
    EXPECT_EQ(text_of(*keys), "I1/S/T") << "kept";

    EXPECT_TRUE(keys->invalidate({"old", "S", "T"}));
    EXPECT_EQ(text_of(*keys), "I1/S/T") << "others were refused, not these";
    EXPECT_TRUE(keys->invalidate({"I1", "S", "T"}));
    expires = unix_now() + 200;
    EXPECT_EQ(text_of(*keys), "I2/S/T");
    EXPECT_EQ(text_of(*keys), "I3/S/T") << "less than five minutes are left: renewed";
}

TEST_F(CredentialsTest, KeysThatCannotBeRenewedServeUntilTheyExpire) {
    bool down = false;
    HttpServer server([&](const HttpServer::Request&) -> HttpServer::Answer {
        if (down) return {.status = 500};
        return {.body = json("I", unix_now() + 100)};
    });
    variables_ = {{"AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url() + "/keys"}};
    options_.key_type = S3KeyType::pod_identity;
    const auto keys = source();
    EXPECT_EQ(text_of(*keys), "I/S/T");
    down = true;
    EXPECT_EQ(text_of(*keys), "I/S/T");
    EXPECT_TRUE(keys->invalidate({"I", "S", "T"}));
    const auto none = keys->get();
    ASSERT_FALSE(static_cast<bool>(none));
    EXPECT_TRUE(none.error().transient());
}

TEST_F(CredentialsTest, PodIdentitySendsTheTokenOfItsFileAsItIsNow) {
    std::vector<std::string> seen;
    HttpServer server([&](const HttpServer::Request& request) -> HttpServer::Answer {
        seen.push_back(request.headers.at("authorization"));
        return {.body = json("P", unix_now() + 10)};
    });
    variables_ = {{"AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url() + "/v1/credentials"},
                  {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write("token", "first\n")}};
    options_.key_type = S3KeyType::pod_identity;
    const auto keys = source();
    EXPECT_EQ(text_of(*keys), "P/S/T");
    write("token", "second\n");
    EXPECT_EQ(text_of(*keys), "P/S/T");
    EXPECT_EQ(seen, (std::vector<std::string>{"first", "second"}));
}

TEST_F(CredentialsTest, WebIdentityAsksStsAndNamesItsRefusal) {
    bool refuse = false;
    HttpServer server([&](const HttpServer::Request&) -> HttpServer::Answer {
        if (refuse)
            return {.status = 403,
                    .body =
                        "<ErrorResponse><Error><Code>InvalidIdentityToken</Code>"
                        "</Error></ErrorResponse>"};
        return {.body =
                    "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>"
                    "<Credentials><AccessKeyId>W</AccessKeyId><SecretAccessKey>WS"
                    "</SecretAccessKey><SessionToken>WT</SessionToken><Expiration>" +
                    iso(unix_now() + 3600) +
                    "</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
                    "</AssumeRoleWithWebIdentityResponse>"};
    });
    options_.key_type = S3KeyType::web_identity;
    options_.sts_host = server.url();
    EXPECT_THAT(text_of(*source()), testing::HasSubstr("AWS_ROLE_ARN"));
    variables_ = {{"AWS_ROLE_ARN", "arn:aws:iam::1:role/r"},
                  {"AWS_WEB_IDENTITY_TOKEN_FILE", write("token", "eyJ.secret\n")}};
    EXPECT_EQ(text_of(*source()), "W/WS/WT");
    EXPECT_THAT(server.requests().at(0).target,
                testing::AllOf(testing::HasSubstr("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"),
                               testing::HasSubstr("WebIdentityToken=eyJ.secret")));
    refuse = true;
    EXPECT_THAT(text_of(*source()), testing::AllOf(testing::HasSubstr("InvalidIdentityToken"),
                                                   testing::Not(testing::HasSubstr("eyJ"))));
}

TEST_F(CredentialsTest, ProcessPrintsKeysAndItsOutputIsNeverShown) {
    options_.key_type = S3KeyType::process;
    options_.process_command = {
        "sh", "-c", R"(echo '{"AccessKeyId":"C","SecretAccessKey":"CS","SessionToken":"CT"}')"};
    EXPECT_EQ(text_of(*source()), "C/CS/CT");
    options_.process_command = {"sh", "-c", "echo top secret"};
    EXPECT_THAT(text_of(*source()), testing::AllOf(testing::HasSubstr("holds no AccessKeyId"),
                                                   testing::Not(testing::HasSubstr("top"))));
    options_.process_command = {"sh", "-c", "exit 3"};
    EXPECT_ERROR(ErrorKind::execute, source()->get());
    options_.process_command = {directory_.path() + "/missing"};
    EXPECT_ERROR(ErrorKind::execute, source()->get());
}

TEST_F(CredentialsTest, ProcessThatDoesNotEndIsEndedByARequestToStop) {
    Cancellation cancel;
    cancel.request();
    options_.cancel = &cancel;
    options_.key_type = S3KeyType::process;
    options_.process_command = {"sleep", "1000"};
    EXPECT_ERROR(ErrorKind::cancelled, source()->get());
}

}  // namespace
}  // namespace chronos::storage::s3
