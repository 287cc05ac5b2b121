"""Standing gets a row for each item and question; rankings, and what they rest on, get tables."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("archive", "0012_storyboards"),
        ("triage", "0005_tags_and_text"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex("standing", "order_of_review"),
        migrations.RemoveIndex("standing", "standing_by_arrival"),
        migrations.RemoveIndex("standing", "standing_counts"),
        migrations.CreateModel(
            name="Column",
            fields=[
                ("sha256", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("data", models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name="Example",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at_ms", models.PositiveBigIntegerField(null=True)),
                ("x", models.DecimalField(decimal_places=5, max_digits=6, null=True)),
                ("y", models.DecimalField(decimal_places=5, max_digits=6, null=True)),
                ("width", models.DecimalField(decimal_places=5, max_digits=6, null=True)),
                ("height", models.DecimalField(decimal_places=5, max_digits=6, null=True)),
                ("reason", models.CharField(blank=True, max_length=1000)),
                ("at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["at", "pk"],
            },
        ),
        migrations.CreateModel(
            name="ExampleVector",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("embedder", models.CharField(max_length=120)),
                ("values", models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name="Known",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("facts", models.JSONField()),
                ("at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Ordering",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("audit_percent", models.PositiveSmallIntegerField(default=5)),
                ("refit_after", models.PositiveSmallIntegerField(default=5)),
                ("waiting_days", models.PositiveSmallIntegerField(default=10)),
                ("at", models.DateTimeField()),
            ],
            options={
                "ordering": ["at", "pk"],
            },
        ),
        migrations.CreateModel(
            name="Ranking",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("at", models.DateTimeField()),
                (
                    "start",
                    models.CharField(
                        choices=[
                            ("nothing", "by rules only"),
                            ("examples", "by rules and likeness to examples"),
                            ("decisions", "by rules and what was learned from answers"),
                        ],
                        max_length=10,
                    ),
                ),
                ("seed", models.CharField(max_length=20)),
                ("criteria", models.PositiveIntegerField()),
                ("rules", models.JSONField()),
                ("rules_sha256", models.CharField(max_length=64)),
                ("settings", models.JSONField()),
                ("recipes", models.JSONField()),
                ("vectors_sha256", models.CharField(blank=True, max_length=64)),
                ("labels", models.JSONField()),
                ("columns", models.JSONField()),
                ("combination", models.JSONField()),
                ("sha256", models.CharField(max_length=64)),
            ],
            options={
                "ordering": ["-number"],
            },
        ),
        migrations.CreateModel(
            name="StandingByQuestion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("question", models.PositiveIntegerField(default=0)),
                ("number", models.PositiveIntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("image", "image"),
                            ("video", "video"),
                            ("audio", "audio"),
                            ("document", "document"),
                            ("other", "other"),
                            ("unknown", "not yet known"),
                        ],
                        default="unknown",
                        max_length=10,
                    ),
                ),
                (
                    "band",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (0, "scored"),
                            (1, "not scored: after those that are, oldest first"),
                            (2, "postponed: after the others"),
                            (3, "decided"),
                        ],
                        default=1,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "No model has looked at this item yet."),
                            ("scored", "scored"),
                            ("unreadable", "No picture could be decoded, so no model has looked at it."),
                            ("not_pictures", "Not a picture or a video: no model here reads such files."),
                            ("failed", "The model failed on this item."),
                        ],
                        default="waiting",
                        max_length=12,
                    ),
                ),
                ("points", models.BigIntegerField(default=0)),
                ("note", models.CharField(blank=True, max_length=400)),
                ("reasons", models.JSONField(blank=True, default=list)),
                ("criteria", models.PositiveIntegerField(default=0)),
                ("rules_sha256", models.CharField(blank=True, max_length=64)),
                ("postponed", models.BooleanField(default=False)),
                ("scored_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="criteria",
            name="criteria_number_once_per_case",
        ),
        migrations.AddField(
            model_name="criteria",
            name="question",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddConstraint(
            model_name="criteria",
            constraint=models.UniqueConstraint(
                fields=("case", "question", "number"), name="criteria_number_once_per_question"
            ),
        ),
        migrations.AddField(
            model_name="example",
            name="by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="example",
            name="item",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="examples", to="archive.item"
            ),
        ),
        migrations.AddField(
            model_name="example",
            name="question",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="examples", to="triage.question"
            ),
        ),
        migrations.AddField(
            model_name="examplevector",
            name="example",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="vectors", to="triage.example"
            ),
        ),
        migrations.AddField(
            model_name="known",
            name="item",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="archive.item"
            ),
        ),
        migrations.AddField(
            model_name="ordering",
            name="by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="ordering",
            name="question",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="orderings", to="triage.question"
            ),
        ),
        migrations.AddField(
            model_name="ranking",
            name="question",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="rankings", to="triage.question"
            ),
        ),
        migrations.AddField(
            model_name="standingbyquestion",
            name="case",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="archive.case"
            ),
        ),
        migrations.AddField(
            model_name="standingbyquestion",
            name="item",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="standings", to="archive.item"
            ),
        ),
        migrations.AddField(
            model_name="standingbyquestion",
            name="known",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="triage.known"
            ),
        ),
        migrations.AddConstraint(
            model_name="examplevector",
            constraint=models.UniqueConstraint(
                fields=("example", "embedder"), name="example_vector_once_per_embedder"
            ),
        ),
        migrations.AddConstraint(
            model_name="ordering",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("audit_percent__lte", 50), ("refit_after__gte", 1), ("waiting_days__gte", 1)
                ),
                name="ordering_within_bounds",
            ),
        ),
        migrations.AddConstraint(
            model_name="ranking",
            constraint=models.UniqueConstraint(
                fields=("question", "number"), name="ranking_number_once_per_question"
            ),
        ),
        migrations.AddIndex(
            model_name="standingbyquestion",
            index=models.Index(
                fields=["case", "question", "band", "-points", "number"], name="order_of_review"
            ),
        ),
        migrations.AddIndex(
            model_name="standingbyquestion",
            index=models.Index(fields=["case", "question", "number"], name="standing_by_arrival"),
        ),
        migrations.AddIndex(
            model_name="standingbyquestion",
            index=models.Index(fields=["case", "question", "band", "state"], name="standing_counts"),
        ),
        migrations.AddConstraint(
            model_name="standingbyquestion",
            constraint=models.UniqueConstraint(
                fields=("item", "question"), name="standing_once_per_question"
            ),
        ),
    ]
