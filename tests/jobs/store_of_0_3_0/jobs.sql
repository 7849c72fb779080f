-- The job store of a service of version 0.3.0 that was killed: sqlite3's .dump of its file. Beside it, the orders
-- of its jobs that had not ended: one with sections, one that had just been claimed, one that waited.
BEGIN TRANSACTION;
CREATE TABLE callback (
	id INTEGER NOT NULL, 
	job VARCHAR(36) NOT NULL, 
	event VARCHAR(12) NOT NULL, 
	url TEXT NOT NULL, 
	tries INTEGER NOT NULL, 
	due DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "callback" VALUES(1,'f8c64ff5-2849-4b2a-a6f3-8b6768c34bdd','success','https://example.org/done',3,1.79586278971321201326e+09);
CREATE TABLE count (
	name VARCHAR(32) NOT NULL, 
	label VARCHAR(80) NOT NULL, 
	value DOUBLE NOT NULL, 
	PRIMARY KEY (name, label)
);
INSERT INTO "count" VALUES('jobs','successful',5.0);
INSERT INTO "count" VALUES('model_loads','',3.0);
INSERT INTO "count" VALUES('objects','',45.0);
INSERT INTO "count" VALUES('section_seconds','done',5.84979615050069696752e+01);
INSERT INTO "count" VALUES('sections','done',6.0);
INSERT INTO "count" VALUES('jobs','failed',1.0);
INSERT INTO "count" VALUES('section_seconds','failed',2.8216791000886587426e-02);
INSERT INTO "count" VALUES('sections','failed',1.0);
CREATE TABLE job (
	id VARCHAR(36) NOT NULL, 
	process TEXT NOT NULL, 
	client TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	status VARCHAR(10) NOT NULL, 
	message TEXT NOT NULL, 
	created DOUBLE NOT NULL, 
	updated DOUBLE NOT NULL, 
	started DOUBLE, 
	finished DOUBLE, 
	wanted TEXT NOT NULL, 
	result_name VARCHAR(64), 
	parallel_factor VARCHAR(8) NOT NULL, 
	recycle_interval BIGINT NOT NULL, 
	retries INTEGER NOT NULL, 
	needs_gpu BOOLEAN NOT NULL, 
	subscriber TEXT, 
	pace_key VARCHAR(80), 
	"plan" TEXT, 
	objects BIGINT, 
	done BIGINT NOT NULL, 
	result TEXT, 
	summary TEXT, 
	error TEXT, 
	owner TEXT, 
	lease DOUBLE NOT NULL, 
	fence INTEGER NOT NULL, 
	has_files BOOLEAN NOT NULL, 
	is_expired BOOLEAN NOT NULL, 
	is_untidy BOOLEAN NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (result_name)
);
INSERT INTO "job" VALUES('f8c64ff5-2849-4b2a-a6f3-8b6768c34bdd','classify-objects','192.0.2.7',0,'successful','3 objects: dark 0, bright 3',1.79586271603183770181e+09,1.7958627168939130306e+09,1.79586271609481692317e+09,1.79586271689354419704e+09,'{"is_document":false,"by_reference":false,"nothing":false}','storm','50%',0,2,0,'{"success_uri":"https://example.org/done","in_progress_uri":null,"failed_uri":"https://example.org/failed"}','8de6af0aa797d26b7fb1a6a4c47e7c62461248335eb938324fc4ebd44d62e376',NULL,3,3,'{"output":"classifiedObjects","media_type":"application/geo+json","name":"plan-1/result-1.geojson","size_bytes":922}','{"model":{"id":"quick","sha256":"8de6af0aa797d26b7fb1a6a4c47e7c62461248335eb938324fc4ebd44d62e376"},"counts":{"dark":0,"bright":3},"status":{"ok":3},"warnings":[],"software":"classify-objects 0.3.0"}',NULL,NULL,0.0,1,1,0,0);
INSERT INTO "job" VALUES('30ddf985-cbe0-4601-910b-a25c8f9e9d16','classify-objects','192.0.2.7',0,'successful','3 objects: dark 0, bright 3',1.79586271712386679648e+09,1.795862717441214323e+09,1.79586271718822145459e+09,1.79586271744079256054e+09,'{"is_document":false,"by_reference":false,"nothing":false}','classify-objects-image-1','100%',0,0,0,NULL,'8de6af0aa797d26b7fb1a6a4c47e7c62461248335eb938324fc4ebd44d62e376',NULL,3,3,'{"output":"classifiedObjects","media_type":"application/geo+json","name":"plan-1/result-1.geojson","size_bytes":941}','{"model":{"id":"quick","sha256":"8de6af0aa797d26b7fb1a6a4c47e7c62461248335eb938324fc4ebd44d62e376"},"counts":{"dark":0,"bright":3},"status":{"ok":3},"warnings":[],"software":"classify-objects 0.3.0"}',NULL,NULL,0.0,1,1,0,0);
INSERT INTO "job" VALUES('0976b47b-23e4-4472-9388-14c45a17d4e1','classify-objects','192.0.2.7',0,'successful','3 objects: dark 0, bright 3',1.79586271731699419025e+09,1.79586271817429852484e+09,1.79586271734168958667e+09,1.79586271817407250404e+09,'{"is_document":false,"by_reference":false,"nothing":false}','classify-objects-image-1-2','100%',0,0,0,NULL,'8de6af0aa797d26b7fb1a6a4c47e7c62461248335eb938324fc4ebd44d62e376',NULL,3,3,'{"output":"classifiedObjects","media_type":"application/geo+json","name":"plan-1/result-1.geojson","size_bytes":943}','{"model":{"id":"quick","sha256":"8de6af0aa797d26b7fb1a6a4c47e7c62461248335eb938324fc4ebd44d62e376"},"counts":{"dark":0,"bright":3},"status":{"ok":3},"warnings":[],"software":"classify-objects 0.3.0"}',NULL,NULL,0.0,1,1,0,0);
INSERT INTO "job" VALUES('2ea759d2-1eea-4a7c-a53d-c07bcc3bd816','classify-objects','192.0.2.7',0,'failed','image ''image-1'' has no spatial reference; with features every image needs one',1.7958627173737781048e+09,1.79586271765966558455e+09,1.7958627175692117214e+09,1.79586271765922832494e+09,'{"is_document":false,"by_reference":false,"nothing":false}','classify-objects-image-1-3','100%',0,0,0,NULL,'8de6af0aa797d26b7fb1a6a4c47e7c62461248335eb938324fc4ebd44d62e376',NULL,NULL,0,NULL,NULL,'{"error":"RequestError","detail":"image ''image-1'' has no spatial reference; with features every image needs one","faults":[{"pointer":"/inputs/image/value","error":"ImageError","detail":"image ''image-1'' has no spatial reference; with features every image needs one"}]}',NULL,0.0,1,1,0,0);
INSERT INTO "job" VALUES('2ba0ffe7-9fb6-4ebe-9c95-f8d253d2c73b','classify-objects','192.0.2.7',0,'dismissed','dismissed',1.7958627183015224934e+09,1.79586271868910074232e+09,1.79586271832313656808e+09,1.79586271860268020632e+09,'{"is_document":false,"by_reference":false,"nothing":false}',NULL,'100%',0,0,0,NULL,'8de6af0aa797d26b7fb1a6a4c47e7c62461248335eb938324fc4ebd44d62e376',NULL,3,3,NULL,NULL,NULL,NULL,0.0,1,0,0,0);
INSERT INTO "job" VALUES('b758aad9-c0dd-434e-b80f-e915f819f612','echo','192.0.2.8',0,'successful','done',1.79586271874069118492e+09,1.79586271896178865437e+09,1.79586271879522109025e+09,1.79586271896137261391e+09,'{"is_document":false,"by_reference":false,"nothing":false}',NULL,'100%',0,0,0,NULL,NULL,NULL,1,1,'{"output":"echo","media_type":"application/json","name":"plan-1/result-1","size_bytes":5}',NULL,NULL,NULL,0.0,1,1,0,0);
INSERT INTO "job" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063','classify-objects','192.0.2.7',0,'running','32 of 100 objects',1.79586271921109724043e+09,1.79586277614322686194e+09,1.79586271925433659554e+09,NULL,'{"is_document":false,"by_reference":false,"nothing":false}','classify-objects-image-1-5','1',0,0,0,NULL,'2c6a4b0792402caf829aa9035a5175e1171cfe9e16d4d8d97982c0898a1d1795','plan-1',100,32,NULL,NULL,NULL,'runner-1',1.79586278603807616236e+09,1,1,0,0);
INSERT INTO "job" VALUES('63f0d601-3481-4561-a1fc-3033ba9e0303','classify-objects','192.0.2.7',0,'running','reading the inputs',1.79586277621988153457e+09,1.79586277623211884495e+09,1.79586277623211884495e+09,NULL,'{"is_document":false,"by_reference":false,"nothing":false}','classify-objects-image-1-6','100%',0,0,0,NULL,'2c6a4b0792402caf829aa9035a5175e1171cfe9e16d4d8d97982c0898a1d1795',NULL,NULL,0,NULL,NULL,NULL,'runner-1',1.79586278623211884498e+09,1,1,0,0);
INSERT INTO "job" VALUES('67bd1f73-2d1e-4ed1-bec7-f0e5b4da20ea','classify-objects','192.0.2.7',0,'accepted','waiting',1.79586277628517532352e+09,1.79586277628517532352e+09,NULL,NULL,'{"is_document":false,"by_reference":false,"nothing":false}','classify-objects-image-1-7','100%',0,0,0,NULL,'8de6af0aa797d26b7fb1a6a4c47e7c62461248335eb938324fc4ebd44d62e376',NULL,NULL,0,NULL,NULL,NULL,NULL,0.0,0,1,0,0);
CREATE TABLE meta (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "meta" VALUES(1);
CREATE TABLE name_count (
	stem VARCHAR(64) NOT NULL, 
	last INTEGER NOT NULL, 
	PRIMARY KEY (stem)
);
INSERT INTO "name_count" VALUES('classify-objects-image-1',7);
CREATE TABLE request (
	job VARCHAR(36) NOT NULL, 
	text TEXT NOT NULL, 
	PRIMARY KEY (job)
);
INSERT INTO "request" VALUES('f8c64ff5-2849-4b2a-a6f3-8b6768c34bdd','{"inputs":{"image":{"encoding":"base64","mediaType":"image/tiff"},"features":{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"EPSG:32633"}}},"model":"quick","resultName":"storm","retries":2,"parallelProcessingFactor":"50%"},"subscriber":{"successUri":"https://example.org/done","failedUri":"https://example.org/failed"}}');
INSERT INTO "request" VALUES('30ddf985-cbe0-4601-910b-a25c8f9e9d16','{"inputs":{"image":{"encoding":"base64","mediaType":"image/tiff"},"features":{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"EPSG:32633"}}},"model":"quick"}}');
INSERT INTO "request" VALUES('0976b47b-23e4-4472-9388-14c45a17d4e1','{"inputs":{"image":{"encoding":"base64","mediaType":"image/tiff"},"features":{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"EPSG:32633"}}},"model":"quick"}}');
INSERT INTO "request" VALUES('2ea759d2-1eea-4a7c-a53d-c07bcc3bd816','{"inputs":{"image":{"encoding":"base64","mediaType":"image/tiff"},"features":{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"EPSG:32633"}}},"model":"quick"}}');
INSERT INTO "request" VALUES('2ba0ffe7-9fb6-4ebe-9c95-f8d253d2c73b','{"inputs":{"image":{"encoding":"base64","mediaType":"image/tiff"},"features":{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"EPSG:32633"}}},"model":"quick"}}');
INSERT INTO "request" VALUES('b758aad9-c0dd-434e-b80f-e915f819f612','{"inputs":{"echo":"a"}}');
INSERT INTO "request" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063','{"inputs":{"image":{"encoding":"base64","mediaType":"image/tiff"},"features":{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"EPSG:32633"}}},"model":"slow","parallelProcessingFactor":"1"}}');
INSERT INTO "request" VALUES('63f0d601-3481-4561-a1fc-3033ba9e0303','{"inputs":{"image":{"encoding":"base64","mediaType":"image/tiff"},"features":{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"EPSG:32633"}}},"model":"slow"}}');
INSERT INTO "request" VALUES('67bd1f73-2d1e-4ed1-bec7-f0e5b4da20ea','{"inputs":{"image":{"encoding":"base64","mediaType":"image/tiff"},"features":{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"EPSG:32633"}}},"model":"quick"}}');
CREATE TABLE section (
	job VARCHAR(36) NOT NULL, 
	number INTEGER NOT NULL, 
	objects BIGINT NOT NULL, 
	is_done BOOLEAN NOT NULL, 
	errors INTEGER NOT NULL, 
	losses INTEGER NOT NULL, 
	PRIMARY KEY (job, number)
);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',0,32,1,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',1,3,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',2,3,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',3,3,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',4,3,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',5,3,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',6,3,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',7,3,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',8,3,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',9,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',10,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',11,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',12,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',13,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',14,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',15,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',16,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',17,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',18,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',19,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',20,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',21,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',22,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',23,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',24,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',25,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',26,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',27,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',28,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',29,2,0,0,0);
INSERT INTO "section" VALUES('bac95bb5-b051-4df4-aeeb-09536b895063',30,2,0,0,0);
CREATE INDEX ix_job_created ON job (created);
CREATE INDEX job_by_end ON job (finished);
CREATE INDEX ix_job_is_untidy ON job (is_untidy);
CREATE INDEX job_by_client ON job (client, status);
CREATE INDEX job_by_status ON job (status, created);
CREATE INDEX ix_callback_due ON callback (due);
COMMIT;
